"""The adjudicator's list of a double reading, and its films: the own verdict first, then the readings to be settled."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from portal.labels.criteria import current_criteria
from portal.labels.events import InvalidLabel, LabelChange
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.models import AdjudicatorVerdict, Consensus, Image, LabelValue, NormalAttribute, QueueImage, ScreeningQueue
from portal.people.signed_in import SignedInRequest
from portal.sets import adjudicating
from portal.sets.consensus import to_settle
from portal.sets.double_reading import DoubleReadingRefused
from portal.views.double_reading import queue_at


@require_GET
@never_cache
def adjudication(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The films that the adjudicator has yet to settle, and those that they have settled. Names of files are left out,
    since they may say what is on a film."""
    queue = queue_at(request, uuid)
    double = adjudicating.require_adjudicator(queue, request.user)
    request.hilum_site = queue.site
    rows = _rows(queue, request)
    context = {
        "room": "data",
        "queue": queue,
        "double": double,
        "is_adjudicating": adjudicating.is_adjudicating(double),
        "rows": rows,
        "left": sum(row["state"] != "settled" for row in rows),
    }
    return render(request, "portal/adjudication.html", context)


def _rows(queue: ScreeningQueue, request: SignedInRequest) -> list[dict[str, Any]]:
    """The films without a consensus, in the queue's order, each with its state and the own verdict. Why a film is among
    them is not shown before the own verdict."""
    verdicts = adjudicating.verdicts_of(queue, request.user)
    settled = {
        row.image_id: row
        for row in Consensus.objects.filter(queue=queue, label_event__adjudication__isnull=False).select_related(
            "label_event"
        )
    }
    open_films = {film.pk for film in to_settle(queue)}
    members = queue.members.filter(image__in=open_films | settled.keys()).select_related("image").order_by("position")
    return [
        {
            "position": member.position,
            "film": member.image,
            "verdict": verdict,
            "label": settled[member.image_id].label_event if member.image_id in settled and verdict else None,
            "state": _state(member, verdict, settled),
        }
        for member in members
        for verdict in [verdicts.get(member.image_id)]
    ]


def _state(member: QueueImage, verdict: AdjudicatorVerdict | None, settled: dict[int, Consensus]) -> str:
    if member.image_id in settled:
        return "settled"
    return "to settle" if verdict else "your verdict is missing"


@require_POST
def begin(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    queue = queue_at(request, uuid)
    try:
        adjudicating.begin_adjudication(queue=queue, person=request.user)
    except DoubleReadingRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("portal:adjudication", queue.uuid)


@require_POST
def hand_back(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Stop; own verdicts stay."""
    queue = queue_at(request, uuid)
    try:
        adjudicating.hand_back_adjudication(queue=queue, person=request.user)
    except DoubleReadingRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("portal:adjudication", queue.uuid)


@require_GET
@never_cache
def film(request: SignedInRequest, uuid: UUID, image: UUID) -> HttpResponse:
    """A film of the list: the form of the own verdict, or the readings and the form that settles it."""
    queue, member = _member(request, uuid, image)
    request.hilum_site = queue.site
    double = adjudicating.require_adjudicator(queue, request.user)
    rows = _rows(queue, request)
    row = next((one for one in rows if one["film"].pk == member.image_id), None)
    if row is None:
        raise Http404("This film is not among those to settle.")
    verdict = row["verdict"]
    readings, waits = [], ""
    if verdict is not None:
        try:
            readings = adjudicating.readings_to_settle(queue=queue, image=member.image, person=request.user)
        except DoubleReadingRefused as refusal:
            waits = str(refusal)
    ticked = set(verdict.findings) if verdict else set()
    others = {finding for reading in readings for finding in reading.findings} - set(queue.site.findings)
    context = {
        "room": "data",
        "queue": queue,
        "film": member.image,
        "position": member.position,
        "row": row,
        "verdict": verdict,
        "readings": readings,
        "waits": waits,
        "is_adjudicating": adjudicating.is_adjudicating(double),
        "keys": keys_in(Room.QUEUE, request.user),
        "findings": list(enumerate([*queue.site.findings, *sorted(others | (ticked - set(queue.site.findings)))], 1)),
        "ticked": ticked,
        "attributes": list(enumerate(NormalAttribute.values, start=1)),
        "ticked_attributes": verdict.attributes if verdict else [],
        "criteria": current_criteria(queue.site),
        "left": sum(one["state"] != "settled" for one in rows),
    }
    return render(request, "portal/adjudicate_film.html", context)


@require_POST
def verdict(request: SignedInRequest, uuid: UUID, image: UUID) -> HttpResponse:
    """Store the own verdict: `value`, `finding` and `attribute` (repeated), `comment`."""
    queue, member = _member(request, uuid, image)
    try:
        adjudicating.give_verdict(queue=queue, image=member.image, change=change_of(request), person=request.user)
    except (DoubleReadingRefused, InvalidLabel) as refusal:
        messages.warning(request, str(refusal))
    return redirect("portal:adjudicate-film", queue.uuid, image)


@require_POST
def settle(request: SignedInRequest, uuid: UUID, image: UUID) -> HttpResponse:
    """Settle the film with the same fields, and show the next one."""
    queue, member = _member(request, uuid, image)
    try:
        adjudicating.settle(queue=queue, image=member.image, change=change_of(request), person=request.user)
    except (DoubleReadingRefused, InvalidLabel) as refusal:
        messages.warning(request, str(refusal))
        return redirect("portal:adjudicate-film", queue.uuid, image)
    following = _next(to_settle(queue), member, queue)
    if following is None:
        messages.success(request, f"Film {member.position} is settled; nothing is left to settle in {queue.name}.")
        return redirect("portal:adjudication", queue.uuid)
    messages.success(request, f"Film {member.position} is settled.")
    return redirect("portal:adjudicate-film", queue.uuid, following.uuid)


def _next(films: Sequence[Image], member: QueueImage, queue: ScreeningQueue) -> Image | None:
    """The first film left after the settled one, else the first film left."""
    places = dict(queue.members.filter(image__in=films).values_list("image_id", "position"))
    later = [one for one in films if places[one.pk] > member.position]
    return next(iter(later or films), None)


def _member(request: SignedInRequest, uuid: UUID, image: UUID) -> tuple[ScreeningQueue, QueueImage]:
    queue = queue_at(request, uuid)
    adjudicating.require_adjudicator(queue, request.user)  # before it is said whether the queue has the film
    member = queue.members.filter(image__uuid=image).select_related("image__dataset__site").first()
    if member is None:
        raise Http404("No such film in this queue.")
    return queue, member


def change_of(request: SignedInRequest) -> LabelChange:
    """What the form of a verdict (portal/_verdict_form.html) sends."""
    value = request.POST.get("value", "")
    attributes = request.POST.getlist("attribute") if value == LabelValue.NORMAL else []
    return LabelChange(
        value=value,
        findings=[text[:100] for text in request.POST.getlist("finding") if text],
        attributes=[text[:100] for text in attributes if text],
        reason=request.POST.get("comment", "")[:500],
    )
