"""The pages on which a canonical image is made by hand. They delegate to ml_engine.boards."""

import json
from typing import Any
from uuid import UUID

import numpy as np
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ml_engine.boards import canonicals, films, stacks
from ml_engine.boards.canonicals import StoredPlacement
from ml_engine.core.alignment.hand_placement import InvalidPlacement
from ml_engine.forms.boards import BoardForm
from ml_engine.models import BoardFilm, CanonicalBoard, HandMadeCanonical
from ml_engine.runs import canonical_files
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.views import board_data
from portal.models import Exposure
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, may, require
from portal.people.blinding import left_out, refuse_withheld, without_withheld
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest

PICTURES = ("mean", "variance")
PRIVATE = "private, max-age=3600"
LONGEST_BODY = 20_000


@require_http_methods(["GET", "POST"])
def boards(request: SignedInRequest) -> HttpResponse:
    """The boards and canonical images of the site, and the form of a new board."""
    site = require(request.user, "align by hand", request.hilum_site)
    form = BoardForm(request.POST or None, site=site, user=request.user)
    if request.method == "POST" and form.is_valid():
        board = form.save()
        if board is not None:
            return redirect("ml_engine:board", board.uuid)
    of_site = CanonicalBoard.objects.filter(site=site).annotate(drawn=Count("films"))
    rows = list(of_site.select_related("split", "cohort", "dataset", "start__run", "created_by"))
    placed = stacks.placed_counts(rows)
    context = {
        "room": "runs",
        "form": form,
        "boards": [(row, placed[row.pk]) for row in rows],
        "canonicals": list(HandMadeCanonical.objects.filter(site=site).select_related("board", "made_by")),
        "may_run": may(request.user, "request runs", site),
    }
    return render(request, "ml_engine/boards.html", context, status=400 if form.errors else 200)


def _board(request: SignedInRequest, uuid: UUID) -> CanonicalBoard:
    rows = CanonicalBoard.objects.select_related("site", "split", "cohort", "dataset", "start__run", "created_by")
    board = get_visible(rows, request.user, uuid)
    require(request.user, "align by hand", board.site)
    request.hilum_site = board.site
    return board


@require_GET
@accepts_query("film")
def board(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The films of the board one after another, each over the mean of the others."""
    board = _board(request, uuid)
    of_board = board.films.select_related("image")
    shown = list(without_withheld(of_board, request.user, film="image"))
    context = {
        "room": "runs",
        "board": board,
        "data": board_data.of_board(board, shown),
        "films": len(shown),
        "steps": board_data.STEPS,
        "moves": board_data.MOVES + board_data.PERSPECTIVE,
        "left_out": left_out(request.user),
        "canonicals": list(board.canonicals.all()),
        "may_run": may(request.user, "request runs", board.site),
    }
    return render(request, "ml_engine/board.html", context)


def _film(request: SignedInRequest, uuid: UUID, position: int) -> BoardFilm:
    board = _board(request, uuid)
    film = board.films.select_related("image__dataset__site").filter(position=position).first()
    if film is None:
        raise Http404(f"The board has no film {position}.")
    film.board = board
    refuse_withheld(request.user, film.image)
    return film


@require_GET
def film(request: SignedInRequest, uuid: UUID, position: int) -> HttpResponse:
    """The film in the square frame. That it is on the board says that it is normal."""
    row = _film(request, uuid, position)
    record_exposure(request.user, Exposure.Kind.LABEL, [row.image_id])
    try:
        content = films.png(films.square_of(row.image, row.board.side).image)
    except RunRefused as refusal:
        return JsonResponse({"error": str(refusal)}, status=404)
    return HttpResponse(content, content_type="image/png", headers={"Cache-Control": PRIVATE})


@require_POST
def place(request: SignedInRequest, uuid: UUID, position: int) -> JsonResponse:
    """Store where the film lies: {"matrix": [9 numbers], "points": {landmark: [x, y]}} or {"left_out": true}."""
    row = _film(request, uuid, position)
    try:
        asked = body_of(request)
        if asked.get("left_out"):
            canonicals.leave_out(film=row, author=request.user)
            return JsonResponse({"state": "left out"})
        placed = canonicals.place_film(
            film=row, author=request.user, matrix=numbers(asked.get("matrix")), points=asked.get("points") or None
        )
    except InvalidPlacement as refusal:
        return JsonResponse({"error": str(refusal)}, status=400)
    except PermissionDenied as refusal:
        return JsonResponse({"error": str(refusal)}, status=403)
    return JsonResponse(placement_facts(placed))


def body_of(request: SignedInRequest) -> dict[str, Any]:
    """The JSON object of a request. Raises InvalidPlacement."""
    if request.content_type != "application/json":
        raise InvalidPlacement("The request is no JSON object: send it as application/json.")
    if len(request.body) > LONGEST_BODY:
        raise InvalidPlacement("The request is too long for one film's place.")
    try:
        asked = json.loads(request.body or b"{}")
    except ValueError:
        raise InvalidPlacement("The request is no JSON object: send matrix, points or left_out.") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("points") or {}, dict):
        raise InvalidPlacement("The request is no JSON object: send matrix, points or left_out.")
    for at in (asked.get("points") or {}).values():
        numbers(at)
    return asked


def numbers(values: Any) -> list[float]:
    """Raises InvalidPlacement unless they are a list of numbers."""
    if not isinstance(values, list) or any(isinstance(x, bool) or not isinstance(x, int | float) for x in values):
        raise InvalidPlacement("The transform must be nine finite numbers, the last of them not 0.")
    return [float(x) for x in values]


def placement_facts(placed: StoredPlacement) -> dict[str, Any]:
    row = placed.row
    return {
        "state": row.how,
        "matrix": row.matrix,
        "rms": row.rms_px,
        "residuals": dict(placed.residuals_px),
        "targets": row.targets,
        "placed": row.pk,
    }


@require_GET
def stack(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """Numbers of the films as they are placed now. `missing` films are not in the mean yet: ask again."""
    board = _board(request, uuid)
    try:
        now = stacks.stack_of(board)
    except RunRefused as refusal:
        return JsonResponse({"error": str(refusal)}, status=409)
    facts = {
        "films": now.aligned.films,
        "missing": now.missing,
        "variance_aligned": now.aligned.mean_variance(),
        "variance_unaligned": now.unaligned.mean_variance(),
    }
    return JsonResponse(facts)


@require_GET
@accepts_query("v", "without")
def picture(request: SignedInRequest, uuid: UUID, what: str) -> HttpResponse:
    """Mean or variance of the films as they are placed now; the mean `without` the film at a position, which a person
    compares with it. The browser adds `v`, so that it does not show an earlier one."""
    board = _board(request, uuid)
    if what not in PICTURES:
        raise Http404("A board has the pictures mean and variance.")
    try:
        now = stacks.stack_of(board)
        aligned = now.aligned
        without = request.GET.get("without", "")
        if without.isdecimal() and len(without) < 5:
            aligned = stacks.stack_without(board, int(without), now)
    except RunRefused as refusal:
        return JsonResponse({"error": str(refusal)}, status=404)
    if what == "mean":
        content = films.png(aligned.mean())
    else:
        content = films.png(_in_scale(aligned.variance(), now.unaligned.variance()))
    return HttpResponse(content, content_type="image/png", headers={"Cache-Control": "private, no-store"})


def _in_scale(variance: Any, unaligned: Any) -> Any:
    """White is the highest variance before the films were aligned, so that the picture darkens as one works."""
    return variance / max(float(np.quantile(unaligned, 0.95)), 1e-9)


@require_POST
def make(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    board = _board(request, uuid)
    try:
        made = canonicals.make_canonical(board=board, name=request.POST.get("name", ""), author=request.user)
    except RunRefused as refusal:
        messages.warning(request, str(refusal))
        return redirect("ml_engine:board", uuid)
    messages.success(request, f"“{made.name}” is the mean of {made.films} films. A run can fit an alignment to it now.")
    return redirect(f"{reverse('ml_engine:boards')}#canonical-{made.uuid}")


@require_GET
def canonical_picture(request: SignedInRequest, uuid: UUID, what: str) -> HttpResponse:
    """The image, or the variance of the films that were averaged into it."""
    made = get_visible(HandMadeCanonical.objects.select_related("site"), request.user, uuid)
    if what not in PICTURES:
        raise Http404("A canonical image has the pictures mean and variance.")
    try:
        values = canonical_files.read(canonical_files.names_of(made)[what == "variance"])
    except OSError:
        raise Http404("The file of this canonical image is gone.") from None
    if what == "variance":
        values = values / max(float(np.quantile(values, 0.98)), 1e-9)
    return HttpResponse(films.png(values), content_type="image/png", headers={"Cache-Control": PRIVATE})
