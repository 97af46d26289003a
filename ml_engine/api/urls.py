from django.urls import path

from ml_engine.api import bank_studies, studies, views

urlpatterns = [
    path("runs/", views.Runs.as_view(), name="api-runs"),
    path("runs/fit_alignment/", views.NewAlignment.as_view(), name="api-fit-alignment"),
    path("runs/fit_detector/", views.NewDetector.as_view(), name="api-fit-detector"),
    path("runs/score/", views.NewScore.as_view(), name="api-score"),
    path("runs/ablation/", studies.NewAblation.as_view(), name="api-new-ablation"),
    path("runs/sweep/", studies.NewSweep.as_view(), name="api-new-sweep"),
    path("runs/bank_study/", bank_studies.NewBankStudy.as_view(), name="api-new-bank-study"),
    path("runs/blind_spots/", bank_studies.NewBlindSpots.as_view(), name="api-new-blind-spots"),
    path("runs/<uuid:uuid>/", views.OneRun.as_view(), name="api-run"),
    path("runs/<uuid:uuid>/cancel/", views.Cancel.as_view(), name="api-run-cancel"),
    path("runs/<uuid:uuid>/retry/", views.Retry.as_view(), name="api-run-retry"),
    path("runs/<uuid:uuid>/log/", views.Log.as_view(), name="api-run-log"),
]
