"""URLs of the portal's own pages."""

from django.urls import path

from portal.views import cohorts, datasets, frame, images, labels, preferences, queues, splits

app_name = "portal"
urlpatterns = [
    path("", frame.home, name="home"),
    path("site/", frame.choose_site, name="choose-site"),
    path("theme/", frame.choose_theme, name="choose-theme"),
    path("datasets/", datasets.datasets, name="datasets"),
    path("datasets/new/", datasets.make_dataset, name="make-dataset"),
    path("datasets/<uuid:uuid>/", datasets.dataset, name="dataset"),
    path("datasets/<uuid:uuid>/counts/", datasets.label_counts, name="label-counts"),
    path("datasets/<uuid:uuid>/upload/", datasets.upload, name="upload"),
    path("datasets/<uuid:uuid>/quarantine/", datasets.quarantine, name="quarantine"),
    path("datasets/<uuid:uuid>/queue/", queues.queue_dataset, name="queue-dataset"),
    path("datasets/<uuid:uuid>/freeze/", cohorts.freeze, name="freeze-cohort"),
    path("cohorts/", cohorts.cohort_list, name="cohorts"),
    path("cohorts/<uuid:uuid>/", cohorts.cohort, name="cohort"),
    path("cohorts/<uuid:uuid>/difference/", cohorts.cohort_diff, name="cohort-diff"),
    path("cohorts/<uuid:uuid>/queue/", queues.queue_cohort, name="queue-cohort"),
    path("queues/", queues.queue_list, name="queues"),
    path("queues/<uuid:uuid>/", queues.queue, name="queue"),
    path("queues/<uuid:uuid>/films/", queues.queue_films, name="queue-films"),
    path("queues/<uuid:uuid>/boxes/<uuid:image>/", queues.queue_boxes, name="queue-boxes"),
    path("queues/<uuid:uuid>/place/", queues.queue_place, name="queue-place"),
    path("keys/", preferences.keys, name="keys"),
    path("findings/", preferences.findings, name="findings"),
    path("criteria/", preferences.criteria, name="criteria"),
    path("uploads/<uuid:uuid>/", datasets.upload_state, name="upload-state"),
    path("images/<uuid:uuid>/", images.image, name="image"),
    path("images/<uuid:uuid>/pixels", images.pixels, name="image-pixels"),
    path("images/<uuid:uuid>/facts", images.facts, name="image-facts"),
    path("images/<uuid:uuid>/boxes", images.boxes, name="image-boxes"),
    path("images/<uuid:uuid>/beside", images.beside, name="image-beside"),
    path("images/<uuid:uuid>/preview", images.preview_file, name="image-preview"),
    path("labels/", labels.label, name="label"),
    path("labels/merge/", labels.merge_label, name="merge-label"),
    path("labels/session/", labels.session, name="label-session"),
    path("labels/undo/", labels.undo_label, name="undo-label"),
    path("splits/", splits.splits, name="splits"),
    path("splits/new/", splits.new_split, name="new-split"),
    path("splits/<uuid:uuid>/", splits.split, name="split"),
]
