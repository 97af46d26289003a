"""A test film of an opened ablation: the viewer with the heatmap of the first detector."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import numpy as np
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import HIDDEN
from analysis.evaluation.exposures import LABEL, MAP, SCORE, record_shown
from analysis.evaluation.looks import CannotEvaluate
from analysis.studies.experiments import ExperimentScores, read_experiment
from analysis.studies.joining import summary_of
from analysis.studies.opening import is_open, results_gone, split_of
from analysis.views.film import maps_response, overlay_of, weight_lock
from analysis.views.query_parameters import get_study
from ml_engine.core.errors import EngineError
from ml_engine.engine.scored_folder import ResultsMissing, ScoredFolder
from ml_engine.models import Run, RunKind
from ml_engine.runs.run_bucket import here
from portal.models import Image, Part
from portal.people.accepted_query import accepts_query
from portal.people.access import may_see_scores
from portal.people.blinding import refuse_withheld
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest


@require_GET
@accepts_query("renderer")
def film(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    run, image = _requested_film(request, run_uuid, image_uuid)
    request.hilum_site = run.site
    try:
        scored, index = _scores_of(run, image)
    except CannotEvaluate as error:
        return render(request, "portal/error.html", {"title": "Results are gone", "sentence": str(error)}, status=410)
    record_shown(request.user, [image_uuid], [LABEL, SCORE], runs=[run_uuid])
    scores = {column: float(values[index]) for column, values in scored.scores.items()}
    context = {"room": "results", "run": run, "film": image, "scores": scores, "detector": _first(run)["words"]}
    return render(request, "analysis/study_film.html", context)


@require_GET
def overlay(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> JsonResponse:
    """The facts with which the viewer draws the heatmap; `maps` returns the maps themselves."""
    run, image = _requested_film(request, run_uuid, image_uuid)
    try:
        scored, index = _scores_of(run, image)
        with _results(run) as folder:
            row = int(scored.rows[index])
            readable = np.isfinite(folder.maps_of(row)).any()
            drawn = overlay_of(folder, row, maps_url=reverse("analysis:study-maps", args=[run_uuid, image_uuid]))
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    if not readable:
        return JsonResponse({"error": "This film has no heatmap: it could not be read."}, status=410)
    record_exposure(request.user, MAP, [image.pk], run=run_uuid)
    return JsonResponse(drawn | weight_lock(Part.TEST) | {"random_weights": run.random_weights})


@require_GET
def maps(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    """Global and region map, little-endian float32 (2, h, w), NaN where masked."""
    run, image = _requested_film(request, run_uuid, image_uuid)
    try:
        scored, index = _scores_of(run, image)
        with _results(run) as folder:
            response = maps_response(folder.maps_of(int(scored.rows[index])))
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    record_exposure(request.user, MAP, [image.pk], run=run_uuid)
    return response


def _requested_film(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> tuple[Run, Image]:
    """An opened ablation and a film of its test part whose scores the user may see; 404 or 403 otherwise."""
    run = get_study(request.user, run_uuid, kind=RunKind.ABLATION)
    if not is_open(run):
        raise PermissionDenied("The test part of this ablation is closed: open it on the page of its results first.")
    films = Image.objects.select_related("dataset__site", "current_label")
    in_test = films.filter(split_images__member__split=split_of(run), split_images__member__part=Part.TEST)
    image = in_test.filter(uuid=image_uuid).first()
    if image is None:
        raise Http404("The ablation did not score this film.")
    refuse_withheld(request.user, image)
    if not may_see_scores(request.user, image, Part.TEST):
        raise PermissionDenied(HIDDEN.format(part=Part.TEST))
    return run, image


def _first(run: Run) -> dict[str, Any]:
    experiment: dict[str, Any] = summary_of(run)["cells"][0]
    return experiment


def _scores_of(run: Run, image: Image) -> tuple[ExperimentScores, int]:
    try:
        scored = read_experiment(here(run), _first(run), part=Part.TEST, name="image")
    except EngineError as error:
        raise results_gone(run) from error
    if str(image.uuid) not in scored.films:
        raise Http404("The ablation did not score this film.")
    return scored, scored.films.index(str(image.uuid))


@contextmanager
def _results(run: Run) -> Iterator[ScoredFolder]:
    """The scored folder of the ablation's first detector."""
    try:
        yield ScoredFolder(here(run) / _first(run)["scores"])
    except ResultsMissing as error:
        raise results_gone(run) from error
