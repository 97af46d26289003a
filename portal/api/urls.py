from django.urls import path

from portal.api import views

urlpatterns = [
    path("datasets/", views.Datasets.as_view(), name="api-datasets"),
    path("datasets/<uuid:uuid>/images/", views.Images.as_view(), name="api-images"),
    path("splits/", views.Splits.as_view(), name="api-splits"),
    path("labels/", views.Labels.as_view(), name="api-labels"),
]
