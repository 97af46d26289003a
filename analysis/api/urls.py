from django.urls import path

from analysis.api import views

urlpatterns = [
    path("evaluations/", views.Evaluations.as_view(), name="api-evaluations"),
    path("evaluations/<uuid:uuid>/", views.OneEvaluation.as_view(), name="api-evaluation"),
    path("evaluations/compare/", views.Compare.as_view(), name="api-comparison"),
    path("evaluations/<uuid:uuid>/breakdown/", views.BreakdownOfOne.as_view(), name="api-breakdown"),
    path("evaluations/<uuid:uuid>/operating/", views.Operating.as_view(), name="api-operating"),
    path("runs/<uuid:uuid>/evaluate/", views.Evaluate.as_view(), name="api-evaluate"),
]
