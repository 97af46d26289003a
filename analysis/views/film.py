"""One film in one scored run: the viewer with the heatmap, in original pixels."""

from typing import Any
from uuid import UUID

import numpy as np
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from analysis.evaluation import CannotEvaluate, score_facts
from analysis.hiding import WHY, shown_scores
from ml_engine.models import Run, RunState, Score
from ml_engine.storage import run_folder
from portal.access import get_visible, may_see_scores
from portal.models import Image, Part, SplitImage
from portal.signed_in import Request

HIDDEN = f"The scores of this film stay hidden from you until it is labelled: it is in {{part}}, and {WHY}."


@require_GET
def film(request: Request, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    score, part = _score(request, run_uuid, image_uuid)
    context = {
        "room": "results",
        "score": score,
        "film": score.image,
        "run": score.run,
        "part": part,
        "locked": part == Part.TEST,
        "evaluation": score.run.evaluations.first(),
    }
    return render(request, "analysis/film.html", context)


@require_GET
def overlay(request: Request, run_uuid: UUID, image_uuid: UUID) -> JsonResponse:
    """What the viewer needs to draw the heatmap; the maps themselves come from `maps`."""
    score, part = _score(request, run_uuid, image_uuid)
    if score.error:
        return JsonResponse({"error": f"This film has no heatmap: {score.error}"}, status=410)
    try:
        facts = score_facts(score.run)
        affine = _row("affines.npy", score)
        maps = _row("maps.npy", score)
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    standard = facts["standardisation"] or {"mean": None, "std": None}
    low, high = _scale(facts)
    return JsonResponse(
        {
            "maps_url": reverse("analysis:maps", args=[run_uuid, image_uuid]),
            "rows": maps.shape[1],
            "columns": maps.shape[2],
            "stride": facts["stride"],
            "size": facts["size"],
            "original_from_canonical": affine.tolist(),
            "weight": facts["fusion_weight"],
            "mean": _flat(standard["mean"]),
            "std": _flat(standard["std"]),
            "scale_low": low,
            "scale_high": high,
            "threshold": facts["threshold_map"],
            "weight_locked": part == Part.TEST,
            "weight_locked_reason": "This film is in test: the weight stays at the run's.",
            "random_weights": score.run.random_weights,
        }
    )


@require_GET
def maps(request: Request, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    """Global and region map, little-endian float32 (2, h, w), NaN where masked."""
    score, _ = _score(request, run_uuid, image_uuid)
    try:
        both = _row("maps.npy", score).astype("<f4")
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    response = HttpResponse(both.tobytes(), content_type="application/octet-stream")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@require_GET
def film_scores(request: Request, uuid: UUID) -> HttpResponse:
    """A film's scores in every finished run, as a part of its page."""
    image = get_visible(Image.objects.select_related("dataset__site", "current_label"), request.user, uuid)
    scores = list(
        image.scores.filter(run__state=RunState.DONE)
        .select_related("run", "run__detector")
        .order_by("-run__created_at")
    )
    shown = shown_scores(request.user, image, scores)
    context = {"film": image, "scores": shown, "hidden": len(scores) - len(shown)}
    return render(request, "analysis/_film_scores.html", context)


def _score(request: Request, run_uuid: UUID, image_uuid: UUID) -> tuple[Score, str]:
    run = get_visible(Run.objects.select_related("site", "detector__split"), request.user, run_uuid)
    rows = Score.objects.select_related("image__dataset__site", "image__patient", "image__current_label")
    score = rows.filter(run=run, image__uuid=image_uuid).first()
    if score is None:
        raise Http404("The run did not score this film.")
    score.run = run
    part = _part_of(score)
    if not may_see_scores(request.user, score.image, part):
        raise PermissionDenied(HIDDEN.format(part=part or "no part"))
    return score, part


def _part_of(score: Score) -> str:
    """The film's part in the split that the run's detector was fitted on."""
    if score.run.detector is None:
        return ""
    row = SplitImage.objects.filter(image_id=score.image_id, member__split_id=score.run.detector.split_id)
    return row.values_list("member__part", flat=True).first() or ""


def _row(name: str, score: Score) -> Any:
    try:
        return np.load(run_folder(score.run.uuid) / name, mmap_mode="r", allow_pickle=False)[score.row]
    except (OSError, ValueError) as error:
        raise CannotEvaluate(
            f"The results of the run {score.run.name!r} are not in the data folder any more; score the films again."
        ) from error


def _scale(facts: dict[str, Any]) -> tuple[float, float]:
    """One scale for every film of the run: from 0 to twice the threshold, so the threshold is its middle. Without a
    threshold, or with one below what is standard for normals, from 0 to 2."""
    threshold = facts["threshold_map"]
    return 0.0, 2 * float(threshold) if threshold and threshold > 0 else 2.0


def _flat(maps: Any) -> list[list[float]] | None:
    return None if maps is None else [list(np.asarray(one, dtype=float).ravel()) for one in maps]
