from django.urls import path

from portal.api import relabel, views

urlpatterns = [
    path("datasets/", views.Datasets.as_view(), name="api-datasets"),
    path("datasets/<uuid:uuid>/images/", views.Images.as_view(), name="api-images"),
    path("splits/", views.Splits.as_view(), name="api-splits"),
    path("cohorts/", views.Cohorts.as_view(), name="api-cohorts"),
    path("cohorts/<uuid:uuid>/", views.OneCohort.as_view(), name="api-cohort"),
    path("cohorts/<uuid:uuid>/images/", views.CohortImages.as_view(), name="api-cohort-images"),
    path("cohorts/<uuid:uuid>/difference/", views.CohortDifference.as_view(), name="api-cohort-difference"),
    path("queues/", views.Queues.as_view(), name="api-queues"),
    path("queues/<uuid:uuid>/images/", views.QueueImages.as_view(), name="api-queue-images"),
    path("criteria/", views.CriteriaVersions.as_view(), name="api-criteria"),
    path("labels/", views.LabelFilms.as_view(), name="api-labels"),
    path("labels/preview/", relabel.PreviewRelabel.as_view(), name="api-relabel-preview"),
    path("labels/apply/", relabel.ApplyRelabel.as_view(), name="api-relabel-apply"),
    path("labels/undo/", relabel.UndoLabels.as_view(), name="api-undo-labels"),
]
