"""Screening queues: the list, creating one, and its page, which shows one film after another."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.labels.boxes import boxes_shown, place_of
from portal.labels.criteria import current_criteria
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.labels.resolving import standing
from portal.models import (
    Cohort,
    Dataset,
    Exposure,
    Image,
    LabelEvent,
    NormalAttribute,
    QueueImage,
    QueuePlace,
    ScreeningQueue,
    Site,
    User,
)
from portal.people import blinding
from portal.people.access import get_visible, may
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest
from portal.sets import film_filters, screening_queues
from portal.sets.cohorts import images_of
from portal.sets.screening_queues import InvalidQueue
from portal.views import double_reading
from portal.views.frame import error_page
from portal.views.grid_choice import chosen_films

FILMS_AT_ONCE = 50
QUEUES_A_PAGE = 50


@require_GET
def queue_list(request: SignedInRequest) -> HttpResponse:
    queues = ScreeningQueue.objects.filter(site=request.hilum_site).select_related("created_by")
    page = Paginator(queues, QUEUES_A_PAGE).get_page(request.GET.get("page"))
    on_page = list(page.object_list)
    places = dict(QueuePlace.objects.filter(queue__in=on_page, user=request.user).values_list("queue_id", "position"))
    numberings = screening_queues.numberings(on_page, request.user)
    double_reading.mark_queues(on_page, request.user)
    for queue in on_page:
        numbers = numberings[queue.pk]
        queue.place = numbers.number_at(places[queue.pk]) if queue.pk in places else None  # type: ignore[attr-defined]
        queue.films = numbers.total
    left_out = blinding.left_out(request.user)
    return render(
        request, "portal/queues.html", {"room": "data", "page": page, "queues": on_page, "left_out": left_out}
    )


@require_POST
def queue_dataset(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Create a queue of the films `image` (repeated) of the grid; without them, of all that match the filters in the
    query string."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    chosen = chosen_films(request, dataset)
    source = f"{dataset.name}: {chosen.words}" if chosen.words else f"{dataset.name}, all films"
    return _make(request, chosen.images, source, dataset.site)


@require_POST
def queue_cohort(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    cohort = get_visible(Cohort.objects.select_related("site"), request.user, uuid)
    return _make(request, images_of(cohort), f"cohort {cohort}", cohort.site)


def _make(request: SignedInRequest, images: QuerySet[Image], source: str, site: Site) -> HttpResponse:
    """Create a queue, without the films that the person has yet to read blinded."""
    if blinding.withheld_patients(request.user):
        images, source = blinding.without_withheld(images, request.user), f"{source}, without films read blinded"
    seed = request.POST.get("seed") or "0"
    try:
        if not (seed.isascii() and seed.isdigit() and len(seed) < 11):
            raise InvalidQueue(f"The seed is {seed[:20]!r}; enter a whole number from 0 to {2**31 - 1}.")
        queue = screening_queues.queue_films(
            site=site,
            name=request.POST.get("name", ""),
            images=images,
            author=request.user,
            source=source,
            order=request.POST.get("order", screening_queues.Order.UNLABELLED),
            seed=int(seed),
            readers=double_reading.readers_named(request),
        )
    except InvalidQueue as error:
        return error_page(request, "No queue was created", str(error), 400)
    return redirect("portal:queue", queue.uuid)


def _queue(request: SignedInRequest, uuid: UUID) -> ScreeningQueue:
    return get_visible(ScreeningQueue.objects.select_related("site", "split", "created_by"), request.user, uuid)


@require_GET
def queue(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The page, which fetches its films itself and continues where the person stopped."""
    queue = _queue(request, uuid)
    request.hilum_site = queue.site
    numbers = screening_queues.numbering(queue, request.user)
    context = {
        "room": "data",
        "queue": queue,
        "total": numbers.total,
        "place": numbers.number_at(screening_queues.place_of(queue, request.user)),
        "left_out": blinding.left_out(request.user),
        "keys": keys_in(Room.QUEUE, request.user),
        "may_label": may(request.user, "label films", queue.site),
        "findings": list(enumerate(queue.site.findings, start=1)),
        "attributes": list(enumerate(NormalAttribute.values, start=1)),
        "criteria": current_criteria(queue.site),
    }
    if queue.blinded:
        page = double_reading.page_of(request, queue)
        if isinstance(page, HttpResponse):
            return page
        context |= page
    return render(request, "portal/queue.html", context)


@require_GET
def queue_films(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """Up to `count` films from position `from` on; `next` is the position of the next request, or null. Positions are
    those of the person's own numbering."""
    queue = _queue(request, uuid)
    numbers = screening_queues.numbering(queue, request.user)
    first = _number(request, "from", default=1, high=numbers.total)
    after = first + _number(request, "count", default=12, high=FILMS_AT_ONCE)
    fields = (
        "image",
        "author",
        "value",
        "findings",
        "attributes",
        "boxes",
        "created_at",
        "reverts",
        "source",
        "reader",
    )
    events = LabelEvent.objects.order_by("created_at", "pk").only(*fields)
    start, stop = numbers.position_of(first), numbers.position_of(after)
    members = list(
        screening_queues.films_from(queue, request.user, start=start, stop=stop).prefetch_related(
            Prefetch("image__label_events", events)
        )
    )
    labeller = request.user if may(request.user, "label films", queue.site) else None
    films = [_film(member, labeller, number=numbers.number_at(member.position)) for member in members]
    if not queue.blinded:  # which shows nothing but own readings
        _record(request.user, queue, [member.image for member in members])
    return JsonResponse(
        {
            "films": double_reading.own_only(queue, request.user, films) if queue.blinded else films,
            "next": after if after <= numbers.total else None,
            "total": numbers.total,
        }
    )


def _record(person: User, queue: ScreeningQueue, films: Sequence[Image]) -> None:
    """What the person is shown of the films: their labels, and in an order by score about how high their score is."""
    record_exposure(person, Exposure.Kind.LABEL, film_filters.labelled(films))
    if queue.order == screening_queues.Order.SCORE:
        record_exposure(person, Exposure.Kind.SCORE, [film.pk for film in films])


def _number(request: SignedInRequest, name: str, *, default: int, high: int) -> int:
    text = request.GET.get(name, "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default
    return max(1, min(number, high))


def _film(member: QueueImage, labeller: User | None, *, number: int) -> dict[str, Any]:
    film = member.image
    label = getattr(film, "current_label", None)
    events = list(film.label_events.all())
    return {
        "position": number,
        "image": str(film.uuid),
        "name": str(film),
        "view": film.view_position,
        "warning": film.warning,
        "label": {
            "value": label.value if label else "",
            "findings": label.findings if label else [],
            "attributes": label.attributes if label else [],
            "seen": len(events),
        },
        "boxes": reverse("portal:queue-boxes", args=[member.queue.uuid, film.uuid])
        if member.outline or _boxes_of_others(events, labeller)
        else None,
        "own_boxes": list(standing(events, labeller).boxes) if labeller else [],
        "page": reverse("portal:image", args=[film.uuid]),
        "facts": reverse("portal:image-facts", args=[film.uuid]),
        "pixels": reverse("portal:image-pixels", args=[film.uuid]),
        "preview": reverse("portal:image-preview", args=[film.uuid]),
    }


def _boxes_of_others(events: list[LabelEvent], labeller: User | None) -> list[dict[str, Any]]:
    """The boxes that are only shown: without those that the labeller edits, which are the boxes of the film's label."""
    edited = {place_of(box) for box in standing(events, labeller).boxes} if labeller else set()
    return [box for box in boxes_shown(events) if place_of(box) not in edited]


@require_GET
def queue_boxes(request: SignedInRequest, uuid: UUID, image: UUID) -> JsonResponse:
    """The boxes to show on a film of the queue beside those that the person edits: those of its labels, and the suspect
    region from an order by score."""
    queue = get_visible(ScreeningQueue.objects.all(), request.user, uuid)
    film = get_visible(Image.objects.all(), request.user, image)
    if queue.blinded:  # own boxes come with the films, and no others are shown
        return JsonResponse({"boxes": []})
    blinding.refuse_withheld(request.user, film)
    member = screening_queues.films_of(queue, request.user).filter(image__uuid=image).first()
    if member is None:
        raise Http404("No such film in this queue.")
    _record(request.user, queue, [member.image])
    events = list(member.image.label_events.order_by("created_at", "pk"))
    outline = [{**box, "finding": "least normal region", "source": "outline"} for box in member.outline]
    labeller = request.user if may(request.user, "label films", queue.site) else None
    return JsonResponse({"boxes": [*_boxes_of_others(events, labeller), *outline]})


@require_POST
def queue_place(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """Store the `position` where the person continues."""
    queue = get_visible(ScreeningQueue.objects.all(), request.user, uuid)
    text = request.POST.get("position", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return JsonResponse({"error": f"The position is {text[:20]!r}; send a whole number from 1."}, status=400)
    numbers = screening_queues.numbering(queue, request.user)
    position = numbers.position_of(int(text))
    stored = screening_queues.go_to(queue=queue, person=request.user, position=position)
    return JsonResponse({"position": numbers.number_at(stored)})
