from django.urls import path

from portal.api import corrections, double_reading, duplicates, relabel, resumable, views

urlpatterns = [
    path("datasets/", views.Datasets.as_view(), name="api-datasets"),
    path("datasets/<uuid:uuid>/corrections/", corrections.Corrections.as_view(), name="api-corrections"),
    path(
        "datasets/<uuid:uuid>/corrections/decide/",
        corrections.DecideCorrections.as_view(),
        name="api-decide-corrections",
    ),
    path("datasets/<uuid:uuid>/images/", views.Images.as_view(), name="api-images"),
    path("datasets/<uuid:uuid>/uploads/", resumable.NewPartialUpload.as_view(), name="api-new-partial-upload"),
    path("uploads/<uuid:uuid>/", resumable.OnePartialUpload.as_view(), name="api-partial-upload"),
    path("splits/", views.Splits.as_view(), name="api-splits"),
    path("cohorts/", views.Cohorts.as_view(), name="api-cohorts"),
    path("cohorts/<uuid:uuid>/", views.OneCohort.as_view(), name="api-cohort"),
    path("cohorts/<uuid:uuid>/images/", views.CohortImages.as_view(), name="api-cohort-images"),
    path("cohorts/<uuid:uuid>/difference/", views.CohortDifference.as_view(), name="api-cohort-difference"),
    path("queues/", views.Queues.as_view(), name="api-queues"),
    path("queues/<uuid:uuid>/images/", views.QueueImages.as_view(), name="api-queue-images"),
    path(
        "datasets/<uuid:uuid>/double-readings/",
        double_reading.NewDoubleReading.as_view(),
        name="api-new-double-reading",
    ),
    path("queues/<uuid:uuid>/double-reading/", double_reading.DoubleReadingState.as_view(), name="api-double-reading"),
    path("queues/<uuid:uuid>/begin/", double_reading.BeginReading.as_view(), name="api-begin-queue"),
    path("queues/<uuid:uuid>/hand-back/", double_reading.HandBackReading.as_view(), name="api-hand-back-queue"),
    path("queues/<uuid:uuid>/readings/", double_reading.OwnReadings.as_view(), name="api-own-readings"),
    path("queues/<uuid:uuid>/readings/undo/", double_reading.UndoReading.as_view(), name="api-undo-reading"),
    path("queues/<uuid:uuid>/close/", double_reading.CloseReading.as_view(), name="api-close-queue"),
    path("queues/<uuid:uuid>/adjudicator/", double_reading.NameAdjudicator.as_view(), name="api-name-adjudicator"),
    path("queues/<uuid:uuid>/adjudication/", double_reading.AdjudicationList.as_view(), name="api-adjudication"),
    path(
        "queues/<uuid:uuid>/adjudication/begin/",
        double_reading.BeginAdjudication.as_view(),
        name="api-begin-adjudication",
    ),
    path(
        "queues/<uuid:uuid>/adjudication/hand-back/",
        double_reading.HandBackAdjudication.as_view(),
        name="api-hand-back-adjudication",
    ),
    path(
        "queues/<uuid:uuid>/adjudication/<uuid:image>/readings/",
        double_reading.ReadingsToSettle.as_view(),
        name="api-readings-to-settle",
    ),
    path(
        "queues/<uuid:uuid>/adjudication/<uuid:image>/verdict/",
        double_reading.OwnVerdict.as_view(),
        name="api-own-verdict",
    ),
    path(
        "queues/<uuid:uuid>/adjudication/<uuid:image>/settle/",
        double_reading.SettleFilm.as_view(),
        name="api-settle-film",
    ),
    path("film-pairs/", duplicates.FilmPairs.as_view(), name="api-film-pairs"),
    path("film-pairs/<uuid:uuid>/judge/", duplicates.JudgeFilmPair.as_view(), name="api-judge-film-pair"),
    path("criteria/", views.CriteriaVersions.as_view(), name="api-criteria"),
    path("labels/", views.LabelFilms.as_view(), name="api-labels"),
    path("labels/preview/", relabel.PreviewRelabel.as_view(), name="api-relabel-preview"),
    path("labels/apply/", relabel.ApplyRelabel.as_view(), name="api-relabel-apply"),
    path("labels/undo/", relabel.UndoLabels.as_view(), name="api-undo-labels"),
]
