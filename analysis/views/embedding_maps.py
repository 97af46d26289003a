"""The embedding map of a dataset: its page, its points, what colours them, and the films most like a film."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import numpy as np
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.exposures import LABEL, record_shown
from analysis.evaluation.score_orders import scored_runs
from analysis.sections.attributes import scanner
from analysis.sections.map_colours import BY_TEXT, SCORES, MapColours, colours_by_score, colours_by_text
from ml_engine.engine.embedding_folder import LAYOUTS, EmbeddingFolder, NoMap
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs.embedding_maps import (
    MapPoints,
    maps_of,
    maps_under_way,
    newest_map,
    open_map,
    points_for,
    similar_films,
)
from portal.models import Dataset, Image, Split, User
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, may, people_who_may
from portal.people.signed_in import SignedInRequest
from portal.sets.chosen_films import MOST_CHOSEN
from portal.sets.cohorts import names_at
from portal.sets.film_pairs import unjudged_at

LAYOUT_WORDS = {"neighbours": "Neighbours together (UMAP)", "axes": "Two principal axes (PCA)"}
MOST_SIMILAR = 24
MAPS_LISTED = 20


def get_map(person: User, uuid: UUID) -> tuple[Run, EmbeddingFolder]:
    """A finished map; 404 where there is none, or its files are gone."""
    runs = Run.objects.filter(kind=RunKind.EMBEDDING, state=RunState.DONE).select_related("site")
    run = get_visible(runs, person, uuid)
    try:
        return run, open_map(run)
    except NoMap as problem:
        raise Http404(str(problem)) from problem


@require_GET
@accepts_query("map")
def embedding_map(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The page, which fetches its points itself; without a map, how to make one. `map` names one that is not the
    newest."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = dataset.site
    run = _chosen_map(request, dataset)
    context: dict[str, Any] = {
        "room": "data",
        "dataset": dataset,
        "run": run,
        "under_way": maps_under_way(dataset).first(),
        "may_run": may(request.user, "request runs", dataset.site),
        "requesters": people_who_may("request runs", dataset.site)[:3],
    }
    if run is not None:
        context |= _of_map(request, dataset, run)
    return render(request, "analysis/embedding_map.html", context)


def _chosen_map(request: SignedInRequest, dataset: Dataset) -> Run | None:
    address = request.GET.get("map")
    if not address:
        return newest_map(dataset)
    run = get_visible(maps_of(dataset), request.user, address)
    return get_map(request.user, run.uuid)[0]


def _of_map(request: SignedInRequest, dataset: Dataset, run: Run) -> dict[str, Any]:
    points = points_for(request.user, run, open_map(run))
    mapped = list(run.datasets.all())
    splits = Split.objects.filter(datasets__in=mapped, frozen_at__isnull=False).distinct().order_by("-frozen_at")
    return {
        "points": points,
        "omitted": blinding.omitted(points.omitted),
        "mapped": mapped,
        "films_now": dataset.images.count() if not run.asked.get("filter") and len(mapped) == 1 else 0,
        "layouts": [(name, LAYOUT_WORDS[name]) for name in LAYOUTS],
        "colours": [(name, words) for name, (words, _, _) in BY_TEXT.items() if name != "part"],
        "splits": splits[:MAPS_LISTED],
        "scored_runs": scored_runs(request.user, run.site, run.datasets.all())[:MAPS_LISTED],
        "maps": list(maps_of(dataset)[:MAPS_LISTED]),
        "unjudged_pairs": unjudged_at(run.site, mapped),
        "most_chosen": MOST_CHOSEN,
        "cohort_names": names_at(run.site),
    }


@require_GET
def points(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The points as little-endian bytes: two uint32 (films n, layouts k), the n UUIDs of 16 bytes, and float32
    (n, k, 2) in the order of `LAYOUTS`. The header X-Fingerprint names this set of points."""
    run, folder = get_map(request.user, uuid)
    shown = points_for(request.user, run, folder)
    head = np.array([len(shown.rows), len(LAYOUTS)], dtype="<u4").tobytes()
    names = b"".join(film.bytes for film in shown.uuids)
    places = np.ascontiguousarray(folder.places()[shown.rows], dtype="<f4").tobytes()
    response = HttpResponse(head + names + places, content_type="application/octet-stream")
    response.headers["X-Fingerprint"] = shown.fingerprint
    return response


@require_GET
@accepts_query("by", "of")
def colours(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """What colours the points: `by` one of the page's list; `of` the UUID of the split or the scoring run."""
    run, folder = get_map(request.user, uuid)
    shown = points_for(request.user, run, folder)
    try:
        made = colours_of(request.user, run, shown, by=request.GET.get("by", ""), of=request.GET.get("of", ""))
    except InvalidColour as error:
        return JsonResponse({"error": str(error)}, status=400)
    except PermissionDenied as refusal:
        return JsonResponse({"error": str(refusal)}, status=403)
    return JsonResponse(made.to_json() | {"fingerprint": shown.fingerprint})


class InvalidColour(Exception):
    """The message is shown to the user."""


def colours_of(person: User, run: Run, shown: MapPoints, *, by: str, of: str) -> MapColours:
    """Raises InvalidColour, PermissionDenied, and Http404 for a split or run that the person cannot see."""
    if by == SCORES:
        scored = Run.objects.filter(site=run.site, kind=RunKind.SCORE, state=RunState.DONE, detector__isnull=False)
        return colours_by_score(
            person, get_visible(scored.select_related("site", "detector__split"), person, of), shown
        )
    if by not in BY_TEXT:
        raise InvalidColour(f"by is {by[:40]!r}: it must be one of {', '.join([*BY_TEXT, SCORES])}.")
    split = get_visible(Split.objects.filter(site=run.site), person, of) if by == "part" else None
    return colours_by_text(person, run, shown, by=by, of=split)


@require_GET
def map_film(request: SignedInRequest, uuid: UUID, image_uuid: UUID) -> JsonResponse:
    """The facts of a point. Its label is among them, which is recorded."""
    run, folder = get_map(request.user, uuid)
    films = Image.objects.select_related("dataset", "current_label").filter(dataset__in=run.datasets.all())
    film = get_visible(films, request.user, image_uuid)
    blinding.refuse_withheld(request.user, film)
    if str(film.uuid) not in folder.images:
        raise Http404("The map does not hold this film.")
    label = getattr(film, "current_label", None)
    record_labels(request.user, [film])
    return JsonResponse(
        {
            "name": str(film),
            "dataset": film.dataset.name,
            "view": film.view_position,
            "scanner": scanner(film),
            "label": label.value if label else "unlabelled",
            "findings": label.findings if label else [],
            "warning": film.warning,
        }
    )


def record_labels(person: User, films: Iterable[Image]) -> None:
    """Record that the person is shown the labels of those of the films that have one."""
    record_shown(person, [film.uuid for film in films if hasattr(film, "current_label")], [LABEL])


@require_GET
def similar(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The films most like a film, by the newest map of its dataset."""
    film = get_visible(Image.objects.select_related("dataset__site", "current_label"), request.user, uuid)
    request.hilum_site = film.dataset.site
    blinding.refuse_withheld(request.user, film)
    run = newest_map(film.dataset)
    near = similar_films(request.user, run, film, count=MOST_SIMILAR) if run else None
    record_labels(request.user, [film, *(one.image for one in near or ())])
    context = {
        "room": "data",
        "film": film,
        "dataset": film.dataset,
        "run": run,
        "near": near,
        "left_out": blinding.left_out(request.user),
        "may_run": may(request.user, "request runs", film.dataset.site),
        "requesters": people_who_may("request runs", film.dataset.site)[:3],
    }
    return render(request, "analysis/similar_films.html", context)
