"""Double reading: beginning a blinded queue, handing it back, closing it, and what its readers get: their own readings
only."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from portal.labels.criteria import current_criteria
from portal.labels.losses import words_of
from portal.models import DoubleReading, Image, QueueReader, QueueReading, ScreeningQueue, User
from portal.people import blinding
from portal.people.access import get_visible, may, require
from portal.people.signed_in import SignedInRequest
from portal.sets import adjudicating, consensus, double_reading
from portal.sets.double_reading import DoubleReadingRefused
from portal.sets.screening_queues import InvalidQueue


def readers_named(request: SignedInRequest) -> list[User]:
    """The people of a double reading, in `reader` (repeated); none for an ordinary queue. Raises InvalidQueue."""
    addresses = request.POST.getlist("reader")
    if not addresses:
        if request.POST.get("double"):
            raise InvalidQueue("No reader is chosen; a double reading needs two or more different people.")
        return []
    try:
        readers = list(User.objects.filter(uuid__in=[UUID(address) for address in addresses]))
    except ValueError:
        raise InvalidQueue("The identifier of a reader is invalid; reload the page.") from None
    if len(readers) != len(set(addresses)):
        raise InvalidQueue("A reader does not exist; reload the page.")
    return readers


@require_POST
def begin_queue(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    queue = queue_at(request, uuid)
    try:
        double_reading.begin(queue=queue, person=request.user)
    except DoubleReadingRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("portal:queue", queue.uuid)


@require_POST
def hand_back_queue(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Stop reading; readings so far stay."""
    queue = queue_at(request, uuid)
    try:
        left = double_reading.hand_back(queue=queue, person=request.user)
    except DoubleReadingRefused as refusal:
        messages.warning(request, str(refusal))
    else:
        films = "1 film" if left == 1 else f"{left} films"
        messages.success(request, f"{queue.name} is handed back with {films} unread. Your readings stay.")
    return redirect("portal:queues")


@require_POST
def close_queue(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Close the reading: films on which the readers agree from the film alone get their label, the others go to the
    adjudicator."""
    queue = queue_at(request, uuid)
    try:
        done = consensus.close(queue=queue, person=request.user)
    except DoubleReadingRefused as refusal:
        messages.warning(request, str(refusal))
    else:
        messages.success(
            request,
            f"Reading is closed. Films labelled by agreement: {done.agreed}; "
            f"to be settled: {done.differing + done.shown_first}{_shown_first(done)}; not read by all: {done.unread}.",
        )
    return redirect("portal:queue", queue.uuid)


def _shown_first(done: consensus.Closing) -> str:
    films = done.shown_first
    return f", {films} of them because a reader who agrees had been shown a score, map or label first" if films else ""


@require_POST
def name_adjudicator(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Name the person in `adjudicator`, a UUID, who settles what the readers differ on."""
    queue = queue_at(request, uuid)
    require(request.user, "close double readings", queue.site)
    address = request.POST.get("adjudicator", "")
    person = next((one for one in adjudicating.possible_adjudicators(queue) if str(one.uuid) == address), None)
    if person is None:
        messages.warning(request, "Choose somebody who may adjudicate and is none of the readers.")
        return redirect("portal:queue", queue.uuid)
    try:
        adjudicating.name_adjudicator(queue=queue, adjudicator=person, author=request.user)
    except DoubleReadingRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("portal:queue", queue.uuid)


def queue_at(request: SignedInRequest, uuid: UUID) -> ScreeningQueue:
    return get_visible(ScreeningQueue.objects.select_related("site"), request.user, uuid)


def mark_queues(queues: Sequence[ScreeningQueue], person: User) -> None:
    """Mark the queues of a list whose source is hidden from the person, and those that they adjudicate."""
    blinded = [queue.pk for queue in queues if queue.blinded]
    reads, adjudicates = set[int](), set[int]()
    if blinded:
        reads = set(QueueReader.objects.filter(queue__in=blinded, user=person).values_list("queue_id", flat=True))
        mine = DoubleReading.objects.filter(queue__in=blinded, adjudicator=person)
        adjudicates = set(mine.values_list("queue_id", flat=True))
    for queue in queues:
        queue.hides_source = queue.pk in reads | adjudicates  # type: ignore[attr-defined]
        queue.is_to_adjudicate = queue.pk in adjudicates  # type: ignore[attr-defined]


def page_of(request: SignedInRequest, queue: ScreeningQueue) -> HttpResponse | dict[str, Any]:
    """What the page of a blinded queue shows besides that of any queue; for a reader who is not reading at present, and
    has films left, the page on which they begin."""
    double = DoubleReading.objects.select_related("adjudicator", "closed_by").get(queue=queue)
    reader = double_reading.reader_of(queue, request.user)
    is_open = double.closed_at is None
    is_reading = is_open and double_reading.is_reading(reader)
    read = len(double_reading.own_readings(queue, request.user)) if reader else 0
    others = queue.readers.exclude(user=request.user).count()
    if reader is not None and is_open and not is_reading and read < queue.films:
        context = {"room": "data", "queue": queue, "read": read, "others": others}
        return render(request, "portal/begin_queue.html", context)
    sees_results = consensus.may_see_results(queue, request.user)
    may_close = may(request.user, "close double readings", queue.site)
    return {
        "double": double,
        "reader": reader,
        "is_reading": is_reading,
        "left_out": "" if reader else blinding.left_out(request.user),  # a reader is shown every film of their queue
        "may_label": is_reading,
        "others": others,
        "hides_source": double_reading.hides_source(queue, request.user),
        "sees_results": sees_results,
        "may_close": may_close,
        "adjudicates": double.adjudicator_id == request.user.pk,
        "adjudicators": adjudicating.possible_adjudicators(queue) if may_close else [],
        "progress": _progress(request.user, queue),
        "closed": consensus.preview_of(queue) if sees_results and not is_open else None,
        "read_by_all": len(double_reading.values_of(queue)),
        "left_to_settle": len(consensus.to_settle(queue)),
    }


def _progress(person: User, queue: ScreeningQueue) -> list[double_reading.ReaderProgress]:
    """Of every reader for those who may see it, and a reader's own."""
    progress = double_reading.progress_of(queue)
    if may(person, "see double readings", queue.site):
        return progress
    return [row for row in progress if row.person == person]


def own_only(queue: ScreeningQueue, person: User, films: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The films of a blinded queue with the person's own readings and boxes instead of labels and boxes of the film,
    and without the names of files, which may say what is on a film."""
    named = queue.members.filter(image__uuid__in=[film["image"] for film in films])
    members = {str(address): pk for address, pk in named.values_list("image__uuid", "image_id")}
    own = double_reading.own_readings(queue, person, [members[film["image"]] for film in films])
    return [
        film
        | {
            "name": f"Film {film['position']}",
            "label": _label(row),
            "boxes": None,
            "own_boxes": row.boxes if row else [],
        }
        for film in films
        for row in [own.get(members[film["image"]])]
    ]


def _label(row: QueueReading | None) -> dict[str, Any]:
    """A reading in the form of a label. How many labels the film has is not revealed."""
    if row is None:
        return {"value": "", "findings": [], "attributes": [], "seen": 0}
    return {"value": row.value, "findings": row.findings, "attributes": row.attributes, "seen": 0}


def own_readings_now(
    queue: ScreeningQueue, person: User, act: UUID, images: Sequence[Image], rows: Sequence[QueueReading] = ()
) -> JsonResponse:
    """The response to an act in a blinded queue, in the form of one to labels. `rows` are the readings that the act
    stored."""
    own = double_reading.own_readings(queue, person, [image.pk for image in images])
    losses = double_reading.reading_losses(rows)
    criteria = current_criteria(queue.site)
    return JsonResponse(
        {
            "act": str(act),
            "labels": {str(image.uuid): _label(own.get(image.pk)) for image in images},
            "changed": {},
            "gone": {str(image.uuid): losses[image.pk].to_json() for image in images if image.pk in losses},
            "note": words_of(losses.values()),
            "criteria": criteria.version if criteria else None,
        }
    )
