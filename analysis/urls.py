"""Addresses of this room's pages."""

from django.urls import path

from analysis.views import film, results

app_name = "analysis"
urlpatterns = [
    path("results/", results.results, name="results"),
    path("results/runs/<uuid:uuid>/evaluate/", results.make_evaluation, name="make-evaluation"),
    path("results/<uuid:uuid>/", results.evaluation, name="evaluation"),
    path("results/<uuid:uuid>/figures", results.figures, name="figures"),
    path("results/<uuid:uuid>/scores.csv", results.table, name="table"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/", film.film, name="film"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/overlay", film.overlay, name="overlay"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/maps", film.maps, name="maps"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/nearest", film.nearest, name="nearest"),
    path("results/films/<uuid:uuid>/scores/", film.film_scores, name="film-scores"),
]
