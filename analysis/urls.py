"""Addresses of this room's pages."""

from django.urls import path

from analysis.views import (
    archive,
    breakdown,
    comparison,
    escalations,
    exports,
    film,
    operating,
    proposals,
    reading,
    results,
    split_data,
    worklists,
)

app_name = "analysis"
urlpatterns = [
    path("results/", results.results, name="results"),
    path("results/compare/", comparison.comparison, name="comparison"),
    path("results/compare/figures/<slug:name>.csv", exports.comparison_csv, name="comparison-csv"),
    path("results/runs/<uuid:uuid>/archive", archive.run_archive, name="run-archive"),
    path("results/runs/<uuid:uuid>/evaluate/", results.make_evaluation, name="make-evaluation"),
    path("splits/<uuid:uuid>/data/", split_data.split_data, name="split-data"),
    path("results/<uuid:uuid>/", results.evaluation, name="evaluation"),
    path("results/<uuid:uuid>/figures", results.figures, name="figures"),
    path("results/<uuid:uuid>/figures/<slug:name>.csv", exports.figure_csv, name="figure-csv"),
    path("results/<uuid:uuid>/report.pdf", exports.report, name="report"),
    path("results/<uuid:uuid>/breakdown", breakdown.breakdown, name="breakdown"),
    path("results/<uuid:uuid>/operating", operating.operating, name="operating"),
    path("results/<uuid:uuid>/scores.csv", results.table, name="table"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/", film.film, name="film"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/overlay", film.overlay, name="overlay"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/maps", film.maps, name="maps"),
    path("results/runs/<uuid:run_uuid>/films/<uuid:image_uuid>/nearest", film.nearest, name="nearest"),
    path("results/films/<uuid:uuid>/scores/", film.film_scores, name="film-scores"),
    path("reading/", reading.worklists, name="worklists"),
    path("reading/new/", worklists.new, name="new-worklist"),
    path("reading/adjudications/", reading.adjudications, name="adjudications"),
    path("reading/escalations/", escalations.escalations, name="escalations"),
    path("reading/escalations/<uuid:uuid>/answer/", escalations.answer, name="answer-escalation"),
    path("reading/<uuid:uuid>/", reading.read, name="read"),
    path("reading/<uuid:uuid>/items/<uuid:item_uuid>/overlay", reading.item_overlay, name="item-overlay"),
    path("reading/<uuid:uuid>/summary/", worklists.summary, name="worklist"),
    path("reading/<uuid:uuid>/readings.csv", worklists.table, name="readings-table"),
    path("reading/<uuid:uuid>/adjudications/", worklists.propose_adjudication, name="propose-adjudication"),
    path("reading/<uuid:uuid>/normals/", proposals.propose_normals, name="propose-normals"),
    path("reading/normals/", proposals.normal_proposals, name="normal-proposals"),
    path("reading/normals/<uuid:uuid>/", proposals.normal_proposal, name="normal-proposal"),
    path("reading/normals/<uuid:uuid>/decide/", proposals.decide, name="decide-normals"),
]
