from django.urls import path

from ml_engine.api import bank_studies, heads, studies, views

urlpatterns = [
    path("runs/", views.Runs.as_view(), name="api-runs"),
    *(
        path(f"runs/{view.kind}/", view.as_view(), name=view.url_name)
        for module in (views, studies, bank_studies, heads)
        for view in module.VIEWS
    ),
    path("runs/<uuid:uuid>/", views.OneRun.as_view(), name="api-run"),
    path("runs/<uuid:uuid>/cancel/", views.Cancel.as_view(), name="api-run-cancel"),
    path("runs/<uuid:uuid>/retry/", views.Retry.as_view(), name="api-run-retry"),
    path("runs/<uuid:uuid>/log/", views.Log.as_view(), name="api-run-log"),
]
