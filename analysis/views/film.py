"""A film in a scored run: the viewer with the heatmap, in original pixels."""

from typing import Any
from uuid import UUID

import numpy as np
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import parts_of_film, scored_film, shown_scores
from analysis.evaluation.exposures import LABEL, MAP, SCORE, record_shown
from analysis.evaluation.film_rank import FilmRank, rank_of
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.run_results import results_of
from analysis.evaluation.thresholds import calibration_reference
from analysis.maps.head_maps import contribution_threshold, false_alarm_rate, is_called_by_head_alone
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Run, RunState, Score
from ml_engine.runs.blacked_out_films import had_other_pixels
from ml_engine.runs.nearest_normals import MOST_NEIGHBOURS, CannotExplain, nearest_normals
from portal.models import Image, Part, SplitImage, User
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, may_see_scores, visible
from portal.people.blinding import is_withheld, omitted, without_withheld
from portal.people.exposure import record_exposure, record_exposures
from portal.people.signed_in import SignedInRequest
from portal.views.frame import error_page

HEAD_MAP, ONE_CLASS_MAP = "head", "one-class"
ONE_MAP = {
    "weight_locked": True,
    "weight_locked_reason": "The semi-supervised head has one map: the weight does not apply to it.",
}


@require_GET
@accepts_query("map", "renderer")
def film(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    score, part = scored_film(request.user, run_uuid, image_uuid)
    request.hilum_site = score.run.site
    record_shown(request.user, [image_uuid], [LABEL, SCORE], runs=[run_uuid])
    rate = false_alarm_rate(score.run)
    try:
        drawn = _drawn_map(request, score, rate=rate)
    except ValueError as fault:
        return error_page(request, "Not understood", str(fault), 400)
    context = {
        "room": "results",
        "score": score,
        "map": drawn,
        "overlay_url": reverse(
            "analysis:overlay", args=[run_uuid, image_uuid], query={"map": drawn} if drawn else None
        ),
        "is_called_by_head": score.combined_p_value is not None and score.combined_p_value <= rate,
        "false_alarm_rate": rate,
        "film": score.image,
        "run": score.run,
        "had_other_pixels": had_other_pixels(score.run, score.image),
        "part": part,
        "locked": part == Part.TEST,
        "evaluation": score.run.evaluations.first(),
        "rank": _rank(score, part),
        "is_by_hand": _is_by_hand(score),
    }
    return render(request, "analysis/film.html", context)


def _is_by_hand(score: Score) -> bool:
    """Whether the run placed the film by an affine that a person made on the alignment board."""
    try:
        with results_of(score.run) as folder:
            return score.row in folder.summary.by_hand
    except CannotEvaluate:  # the overlay says so
        return False


def _rank(score: Score, part: str) -> FilmRank | None:
    """Among the calibration normals; None without a score, without such normals, or where the run's files are gone."""
    if score.fused_score is None:
        return None
    try:
        return rank_of(calibration_reference(score.run), score.fused_score, part=part)
    except CannotEvaluate:
        return None


def _drawn_map(request: SignedInRequest, score: Score, *, rate: float) -> str:
    """The map that is asked for; without one, the head's for a film that the head alone calls, since the one-class map
    does not explain it. Raises ValueError as `_is_of_head`."""
    asked = request.GET.get("map", "")
    if asked == ONE_CLASS_MAP:
        return ""
    if _is_of_head(request, score):
        return HEAD_MAP
    try:
        with results_of(score.run) as folder:
            return HEAD_MAP if is_called_by_head_alone(folder, score.row, rate=rate) else ""
    except CannotEvaluate:  # the overlay says so
        return ""


def _is_of_head(request: SignedInRequest, score: Score) -> bool:
    """Whether the map of the semi-supervised head is asked for. Raises ValueError with a sentence for another map, and
    where the run has no head."""
    name = request.GET.get("map", "")
    if name not in ("", HEAD_MAP):
        raise ValueError(f"The map is {name[:20]!r}: give {HEAD_MAP}, or leave it out for the one-class heatmap.")
    if name and score.head_score is None:
        raise ValueError("This run has no semi-supervised head, so it has no such map.")
    return bool(name)


@require_GET
@accepts_query("map")
def overlay(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> JsonResponse:
    """The facts with which the viewer draws the heatmap; `maps` returns the maps themselves. With `map=head`, what each
    patch contributes to the semi-supervised head's score."""
    score, part = scored_film(request.user, run_uuid, image_uuid)
    if score.error:
        return JsonResponse({"error": f"This film has no heatmap: {score.error}"}, status=410)
    try:
        of_head = _is_of_head(request, score)
    except ValueError as fault:
        return JsonResponse({"error": str(fault)}, status=400)
    maps_url = reverse("analysis:maps", args=[run_uuid, image_uuid], query={"map": HEAD_MAP} if of_head else None)
    try:
        with results_of(score.run) as folder:
            drawn = (head_overlay_of if of_head else overlay_of)(folder, score.row, maps_url=maps_url)
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    record_exposure(request.user, MAP, [score.image_id], run=run_uuid)
    lock = ONE_MAP if of_head else weight_lock(part)
    return JsonResponse(drawn | lock | {"random_weights": score.run.random_weights})


def weight_lock(part: str) -> dict[str, Any]:
    return {
        "weight_locked": part == Part.TEST,
        "weight_locked_reason": "This film is in test: the weight stays at the run's.",
    }


def overlay_of(folder: ScoredFolder, row: int, *, maps_url: str) -> dict[str, Any]:
    """The facts with which the viewer draws the heatmap of the film at ``row``. Raises ResultsMissing."""
    summary, maps = folder.summary, folder.maps_of(row)
    standard = summary.standardisation or {"mean": None, "std": None}
    low, high = summary.scale
    return {
        "maps_url": maps_url,
        "rows": maps.shape[1],
        "columns": maps.shape[2],
        "stride": summary.stride,
        "size": summary.size,
        "original_from_canonical": folder.affine_of(row).tolist(),
        "weight": summary.fusion_weight,
        "mean": _flat(standard["mean"]),
        "std": _flat(standard["std"]),
        "scale_low": low,
        "scale_high": high,
        "threshold": summary.threshold_map,
    }


def head_overlay_of(folder: ScoredFolder, row: int, *, maps_url: str) -> dict[str, Any]:
    """As `overlay_of`, for the head's contributions, on the same grid. The threshold is what one patch in a hundred of
    the run's films exceeds, the same for every film."""
    threshold = contribution_threshold(folder)
    return overlay_of(folder, row, maps_url=maps_url) | {
        "mean": None,
        "std": None,
        "scale_words": "Contribution to the logit of the semi-supervised head",
        "scale_low": 0.0,
        "scale_high": 2 * threshold,
        "threshold": threshold,
    }


@require_GET
@accepts_query("map")
def maps(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    """Global and region map, little-endian float32 (2, h, w), NaN where masked. With `map=head`, twice the map of the
    head's contributions."""
    score, _ = scored_film(request.user, run_uuid, image_uuid)
    try:
        of_head = _is_of_head(request, score)
    except ValueError as fault:
        return JsonResponse({"error": str(fault)}, status=400)
    try:
        with results_of(score.run) as folder:
            if of_head:
                contributions = folder.contributions_of(score.row)
                response = maps_response(np.stack([contributions, contributions]))
            else:
                response = maps_response(folder.maps_of(score.row))
    except CannotEvaluate as error:
        return JsonResponse({"error": str(error)}, status=410)
    record_exposure(request.user, MAP, [score.image_id], run=run_uuid)
    return response


def maps_response(both: Any) -> HttpResponse:
    response = HttpResponse(both.astype("<f4").tobytes(), content_type="application/octet-stream")
    # A copy in the browser's cache could be shown to a person who has begun to read the film blinded since.
    response.headers["Cache-Control"] = "private, no-store"
    return response


@require_GET
@accepts_query("row", "column", "neighbours")
def nearest(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> JsonResponse:
    """The nearest normal patches to a patch (`row` and `column` of the map, default: the hottest), and their films."""
    score, _ = scored_film(request.user, run_uuid, image_uuid)
    try:
        patch, neighbours = _patch(request), _whole(request, "neighbours", default=5, least=1, most=MOST_NEIGHBOURS)
    except ValueError as fault:
        return JsonResponse({"error": str(fault)}, status=400)
    if score.error:
        return JsonResponse({"error": f"This film has no heatmap: {score.error}"}, status=410)
    try:
        with results_of(score.run) as folder:
            stride = folder.summary.stride
        explained = nearest_normals(run=score.run, image_uuid=image_uuid, patch=patch, neighbours=neighbours)
    except (CannotEvaluate, CannotExplain) as error:
        return JsonResponse({"error": str(error)}, status=410)
    uuids = {neighbour["image"] for neighbour in explained["nearest"] if neighbour["image"]}
    films = _films_of_bank(request.user, score.run, uuids)
    shown = [
        {**{key: neighbour[key] for key in _NEIGHBOUR}, **_place(neighbour, stride), "film": films[neighbour["image"]]}
        for neighbour in explained["nearest"]
        if neighbour["image"] in films
    ]
    record_shown(request.user, [image_uuid], [SCORE, MAP], runs=[run_uuid])
    record_shown(request.user, films, [LABEL, SCORE], runs=[run_uuid])
    facts = {key: explained[key] for key in ("row", "column", "global_score", "region_score", "centre_original_px")}
    return JsonResponse({**facts, "stride": stride, "nearest": shown, "hidden": len(explained["nearest"]) - len(shown)})


_NEIGHBOUR = ("bank", "rank", "distance", "row", "column", "original_from_canonical")


def _patch(request: SignedInRequest) -> tuple[int, int] | None:
    """Raises ValueError with a sentence."""
    if not {"row", "column"} & set(request.GET):
        return None
    row, column = (_whole(request, name, default=-1, least=0, most=9999) for name in ("row", "column"))
    return row, column


def _whole(request: SignedInRequest, name: str, *, default: int, least: int, most: int) -> int:
    text = request.GET.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{name} is {text[:20]!r}: give a whole number from {least} to {most}.")
    return int(text)


def _place(neighbour: dict[str, Any], stride: int) -> dict[str, Any]:
    """Centre (x, y) of the patch in the pixels of its film; None for a whole film, or without a known affine map."""
    affine = neighbour["original_from_canonical"]
    if affine is None or neighbour["row"] < 0:
        return {"centre_original_px": None}
    x, y = (np.array(affine) @ [(neighbour["column"] + 0.5) * stride, (neighbour["row"] + 0.5) * stride, 1.0]).tolist()
    return {"centre_original_px": [x, y]}


def _films_of_bank(user: User, run: Run, uuids: set[str]) -> dict[str, dict[str, str]]:
    """The films of the detector's bank whose scores the user may see: a distance is a score, and the bank holds only
    normal films."""
    assert run.detector is not None
    films = visible(Image.objects.filter(uuid__in=uuids), user).select_related("dataset__site", "current_label")
    rows = without_withheld(films, user)
    parts = dict(
        SplitImage.objects.filter(member__split_id=run.detector.split_id, image__uuid__in=uuids).values_list(
            "image_id", "member__part"
        )
    )
    return {
        str(film.uuid): {
            "image": str(film.uuid),
            "name": str(film),
            "view_position": film.view_position,
            "url": reverse("portal:image", args=[film.uuid]),
            "facts_url": reverse("portal:image-facts", args=[film.uuid]),
            "pixels_url": reverse("portal:image-pixels", args=[film.uuid]),
        }
        for film in rows
        if may_see_scores(user, film, parts.get(film.pk, ""))
    }


@require_GET
def film_scores(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The section of a film's page with its scores in every finished run."""
    image = get_visible(Image.objects.select_related("dataset__site", "current_label"), request.user, uuid)
    shown, hidden = recorded_scores(request.user, image)
    parts = parts_of_film(image)
    context = {
        "film": image,
        "scores": [
            (score, _rank(score, parts.get(score.run.detector.split_id, "") if score.run.detector else ""))
            for score in shown
        ],
        "hidden": hidden,
        "omitted": omitted(1) if not shown and is_withheld(request.user, image) else "",
    }
    return render(request, "analysis/_film_scores.html", context)


def recorded_scores(user: User, image: Image) -> tuple[list[Score], int]:
    """The film's scores in finished runs that the person may see, newest run first, which is recorded; and how many
    others there are."""
    scores = list(
        image.scores.filter(run__state=RunState.DONE)
        .select_related("run", "run__detector")
        .order_by("-run__created_at")
    )
    shown = shown_scores(user, image, scores, parts_of_film(image))
    record_exposures(user, [(SCORE, image.pk, score.run.uuid) for score in shown])
    return shown, len(scores) - len(shown)


def _flat(maps: Any) -> list[list[float]] | None:
    return None if maps is None else [list(np.asarray(plane, dtype=float).ravel()) for plane in maps]
