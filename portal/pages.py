"""Addresses of the portal's own pages."""

from django.urls import path

from portal.views import datasets, frame, images, labels, splits

app_name = "portal"
urlpatterns = [
    path("", frame.home, name="home"),
    path("site/", frame.choose_site, name="choose-site"),
    path("theme/", frame.choose_theme, name="choose-theme"),
    path("datasets/", datasets.datasets, name="datasets"),
    path("datasets/new/", datasets.make_dataset, name="make-dataset"),
    path("datasets/<uuid:uuid>/", datasets.dataset, name="dataset"),
    path("datasets/<uuid:uuid>/upload/", datasets.upload, name="upload"),
    path("datasets/<uuid:uuid>/quarantine/", datasets.quarantine, name="quarantine"),
    path("uploads/<uuid:uuid>/", datasets.upload_state, name="upload-state"),
    path("images/<uuid:uuid>/", images.image, name="image"),
    path("images/<uuid:uuid>/pixels", images.pixels, name="image-pixels"),
    path("images/<uuid:uuid>/facts", images.facts, name="image-facts"),
    path("images/<uuid:uuid>/boxes", images.boxes, name="image-boxes"),
    path("images/<uuid:uuid>/beside", images.beside, name="image-beside"),
    path("images/<uuid:uuid>/preview", images.preview_file, name="image-preview"),
    path("labels/", labels.label, name="label"),
    path("labels/undo/", labels.undo_label, name="undo-label"),
    path("splits/", splits.splits, name="splits"),
    path("splits/new/", splits.new_split, name="new-split"),
    path("splits/<uuid:uuid>/", splits.split, name="split"),
]
