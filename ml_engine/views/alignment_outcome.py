"""The films of a fitted alignment, before and after, to be accepted, aligned by hand or excluded."""

from typing import cast
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from ml_engine.boards import films, outcome
from ml_engine.core.alignment.hand_placement import InvalidPlacement
from ml_engine.models import AlignmentModel, Run
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.views import board_data
from ml_engine.views.boards import PRIVATE, body_of, numbers
from portal.models import Exposure, Image
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, require
from portal.people.blinding import left_out, refuse_withheld, withheld_patients
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest

MOST_SHOWN = 1000  # films on one page, each of which has a button


def _alignment(request: SignedInRequest, uuid: UUID) -> AlignmentModel:
    run = get_visible(Run.objects.select_related("site", "alignment_made"), request.user, uuid)
    alignment = getattr(run, "alignment_made", None)
    if alignment is None:
        raise Http404("This run made no alignment.")
    require(request.user, "align by hand", run.site)
    request.hilum_site = run.site
    alignment.run = run
    return cast(AlignmentModel, alignment)


@require_GET
@accepts_query("run")
def board(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The films that the alignment was fitted on, or those of a scoring run that it placed; flagged ones first."""
    alignment = _alignment(request, uuid)
    placing = outcome.placing_runs(alignment)
    asked = request.GET.get("run", "")
    placed_by = next((run for run in placing if str(run.uuid) == asked), None)
    if asked and placed_by is None:
        raise Http404("No finished scoring run of this address uses the alignment.")
    withheld = withheld_patients(request.user)
    aligned = outcome.aligned_films(alignment, placed_by)
    seen = [film for film in aligned if film.image.patient_id not in withheld]
    shown = seen[:MOST_SHOWN]
    if placed_by is None:  # that an alignment was fitted on a film says that it is normal
        record_exposure(request.user, Exposure.Kind.LABEL, [film.image.pk for film in shown])
    context = {
        "room": "runs",
        "run": alignment.run,
        "placing": placing,
        "placed_by": placed_by,
        "data": board_data.of_alignment(alignment, shown),
        "films": len(shown),
        "more": len(seen) - len(shown),
        "steps": board_data.STEPS,
        "moves": board_data.MOVES,
        "is_gone": not aligned,
        "left_out": left_out(request.user),
    }
    return render(request, "ml_engine/alignment_outcome.html", context)


def _film(request: SignedInRequest, uuid: UUID, image_uuid: UUID) -> tuple[AlignmentModel, Image]:
    alignment = _alignment(request, uuid)
    image = get_visible(Image.objects.select_related("dataset__site"), request.user, image_uuid)
    refuse_withheld(request.user, image)
    if not outcome.is_placed(alignment, image):
        raise Http404("The alignment places no film of this address.")
    return alignment, image


@require_GET
def film(request: SignedInRequest, uuid: UUID, image_uuid: UUID) -> HttpResponse:
    alignment, image = _film(request, uuid, image_uuid)
    if str(image.uuid) in films.fitted_affines(alignment):
        record_exposure(request.user, Exposure.Kind.LABEL, [image.pk])
    try:
        content = films.png(films.square_of(image, board_data.SIDE).image)
    except RunRefused as refusal:
        return JsonResponse({"error": str(refusal)}, status=404)
    return HttpResponse(content, content_type="image/png", headers={"Cache-Control": PRIVATE})


@require_POST
def decide(request: SignedInRequest, uuid: UUID, image_uuid: UUID) -> JsonResponse:
    """{"verdict": "accept" | "by hand" | "exclude", "matrix": [9 numbers, of a frame of the page's side]}."""
    alignment, image = _film(request, uuid, image_uuid)
    try:
        asked = body_of(request)
        matrix = None
        if asked.get("matrix") is not None:
            drawn = numbers(asked["matrix"])
            if len(drawn) != 9:
                raise InvalidPlacement("The transform must be nine finite numbers, the last of them not 0.")
            matrix = board_data.scaled(drawn, board_data.SIDE / films.frame_side(alignment))
        row = outcome.decide(
            alignment=alignment,
            image=image,
            verdict=str(asked.get("verdict", "")),
            matrix=matrix,
            author=request.user,
        )
    except (InvalidPlacement, RunRefused) as refusal:
        return JsonResponse({"error": str(refusal)}, status=400)
    except PermissionDenied as refusal:
        return JsonResponse({"error": str(refusal)}, status=403)
    return JsonResponse({"state": row.verdict})
