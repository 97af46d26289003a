"""The page on drift of a detector's scores."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.figures import with_note
from analysis.report.population_tables import drift_table
from analysis.sections.drift import SPECIFICITY, draw_drift, drift_of
from analysis.views.exports import Download, csv_of
from analysis.views.query_parameters import theme_of
from ml_engine.models import DetectorModel, Run
from portal.models import Part, User
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest


@require_GET
def drift(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Scores by import against the calibration normals. It names no film."""
    detector = detector_of_run(request.user, uuid)
    request.hilum_site = detector.site
    context = {"room": "results", "detector": detector, "run": detector.run, "specificity": SPECIFICITY}
    try:
        result = drift_of(detector)
    except CannotEvaluate as error:
        return render(request, "analysis/drift.html", context | {"refusal": str(error)})
    drawn = draw_drift(result, theme=theme_of(request.user), random_weights=detector.random_weights)
    figure = with_note(drawn, note_of(detector.split, Part.TEST))
    return render(request, "analysis/drift.html", context | {"drift": result, "figures": {"drift": figure}})


@require_GET
def drift_csv(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    try:
        return drift_file(detector_of_run(request.user, uuid)).response()
    except CannotEvaluate as error:
        refusal = {"title": "Not exported", "sentence": str(error)}
        return render(request, "portal/error.html", refusal, status=error.status)


def drift_file(detector: DetectorModel) -> Download:
    """The data of the figure. Raises CannotEvaluate as `drift_of`."""
    note = note_of(detector.split, Part.TEST)
    table = drift_table(drift_of(detector))
    return csv_of(f"drift-{detector.run.uuid}", table, random_weights=detector.random_weights, note=note)


def detector_of_run(user: User, uuid: UUID) -> DetectorModel:
    """The detector that the run with this UUID fitted; 404 or 403 otherwise."""
    run = get_visible(Run.objects.all(), user, uuid)
    detector = DetectorModel.objects.select_related("site", "run", "split").filter(run=run).first()
    if detector is None:
        raise Http404("This run fitted no detector.")
    require(user, "see scores", detector.site)
    return detector
