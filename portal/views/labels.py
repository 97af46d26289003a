"""Labelling by key and in bulk. Responses are JSON; the page updates only after the label is saved."""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import JsonResponse
from django.middleware.csrf import get_token
from django.views.decorators.http import require_GET, require_POST

from portal.labels.criteria import current_criteria
from portal.labels.disagreements import ChangedAgain, may_settle, merge
from portal.labels.events import InvalidLabel, LabelChange, Labelled, label_as_seen, last_act, undo
from portal.labels.losses import losses_of, words_of
from portal.models import Exposure, Image, LabelEvent, ScreeningQueue, Site
from portal.people import blinding
from portal.people.access import get_visible, require, visible
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest
from portal.sets import screening_queues
from portal.sets.double_reading import queue_of_act, read_blinded, undo_reading
from portal.sets.film_filters import events_of, labelled
from portal.views.double_reading import own_readings_now

MOST_FILMS = 5000
View = Callable[[SignedInRequest], JsonResponse]


class _Refused(Exception):
    """The message and the status of a refusal."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


@require_GET
def session(request: SignedInRequest) -> JsonResponse:
    """The person who is logged in, and their CSRF token, with which a page from before the last log-in can send labels
    that it could not save."""
    return JsonResponse({"person": str(request.user.uuid), "csrf": get_token(request)})


def _refuse_another_person(view: View) -> View:
    """Refuse requests whose `person` is not the person who is logged in: labels kept in a browser must not be saved in
    the name of another person who logs in there."""

    @wraps(view)
    def checked_view(request: SignedInRequest) -> JsonResponse:
        if request.POST.get("person", str(request.user.uuid)) != str(request.user.uuid):
            return _refusal("Somebody else is logged in now; nothing was saved in their name.", status=403)
        return view(request)

    return checked_view


@require_POST
@_refuse_another_person
def label(request: SignedInRequest) -> JsonResponse:
    """Label films. Fields: `image` (repeated) and `value`; optional: `finding` and `attribute` (repeated; a single
    blank one states that there is none, and without the field a film keeps its own if its value stays), `boxes` (of a
    single film, as JSON; without the field it keeps its boxes likewise), `reason`, `seen` (for each film, the number of
    its events when the person saw it), `act` (a UUID chosen by the page, so that it can send the act again), `queue`
    (in which the film was seen) and `position` (where the person continues in it). Responds with what no longer counts
    (`gone` by film, `note` as a sentence), the version of the criteria in force, and with 409 if another person has
    changed every film in the meantime. Films that the person has yet to read blinded are left out, which `omitted`
    says."""
    try:
        asked = _films(request)
        reading = _double_reading(request)
        if reading is not None:
            return _read_blinded(request, reading, asked)
        films = _not_withheld(request, asked)
        queue = _queue(request, films)
        outcome = label_as_seen(
            images=films,
            seen=_events_seen(request, films),
            change=_requested_change(request),
            act=_uuid_field(request, "act") or uuid.uuid4(),
            author=request.user,
            site=films[0].dataset.site,
            queue=queue,
        )
    except _Refused as refused:
        return _refusal(str(refused), status=refused.status)
    except InvalidLabel as error:
        return _refusal(str(error))
    _note_place(request, queue)
    omitted = blinding.omitted(len(asked) - len(films))
    return _respond(request, outcome, site=films[0].dataset.site, omitted=omitted)


def _double_reading(request: SignedInRequest) -> ScreeningQueue | None:
    """The queue of the request if its films are read blinded in it."""
    address = _uuid_field(request, "queue")
    blinded = ScreeningQueue.objects.filter(blinded=True)
    return visible(blinded, request.user).filter(uuid=address).select_related("site").first() if address else None


def _read_blinded(request: SignedInRequest, queue: ScreeningQueue, films: Sequence[Image]) -> JsonResponse:
    """As `label`, in a double reading: nobody else's label matters here, and none is in the response."""
    act = _uuid_field(request, "act") or uuid.uuid4()
    rows = read_blinded(queue=queue, images=films, change=_requested_change(request), act=act, reader=request.user)
    _note_place(request, queue)
    return own_readings_now(queue, request.user, act, films, rows)


def _note_place(request: SignedInRequest, queue: ScreeningQueue | None) -> None:
    position = request.POST.get("position", "")
    if queue and position.isascii() and position.isdigit() and len(position) < 10:
        numbers = screening_queues.numbering(queue, request.user)
        screening_queues.go_to(queue=queue, person=request.user, position=numbers.position_of(int(position)))


def _not_withheld(request: SignedInRequest, films: Sequence[Image]) -> list[Image]:
    """The films without those that the person has yet to read blinded. Refused if none remains."""
    patients = blinding.withheld_patients(request.user)
    kept = [film for film in films if film.patient_id not in patients]
    if not kept:
        try:
            blinding.refuse_withheld(request.user, films[0])
        except PermissionDenied as refusal:
            raise _Refused(str(refusal), status=403) from None
    return kept


def _respond(request: SignedInRequest, outcome: Labelled, *, site: Site, omitted: str) -> JsonResponse:
    response = {
        "act": str(outcome.act),
        "labels": _labels_now(request, outcome.labelled),
        "changed": _changed(request, outcome.changed),
        **_gone(outcome.act),
        "criteria": _version_at(site),
        "omitted": omitted,
    }
    if outcome.labelled:
        return JsonResponse(response)
    return JsonResponse({**response, "error": "Somebody else has labelled this film since you opened it."}, status=409)


@require_POST
@_refuse_another_person
def merge_label(request: SignedInRequest) -> JsonResponse:
    """Resolve a conflict with another person's label. Fields as for `label`, of a single film, and `choice`: mine,
    theirs or unresolved."""
    try:
        films = _films(request)
        if len(films) != 1:
            raise _Refused(f"The request names {len(films)} films; merge one film at a time.")
        [film] = _not_withheld(request, films)
        act = _uuid_field(request, "act") or uuid.uuid4()
        merge(
            image=film,
            choice=request.POST.get("choice", ""),
            change=_requested_change(request),
            seen=_events_seen(request, films)[film.pk],
            act=act,
            author=request.user,
            site=film.dataset.site,
        )
    except _Refused as refused:
        return _refusal(str(refused), status=refused.status)
    except InvalidLabel as error:
        return _refusal(str(error))
    except ChangedAgain:
        sentence = "The film has been labelled again in the meantime; check the newest label."
        return JsonResponse({"error": sentence, "changed": _changed(request, [film.pk])}, status=409)
    return JsonResponse({"act": str(act), "labels": _labels_now(request, [film.pk]), "changed": {}, **_gone(act)})


def _films(request: SignedInRequest) -> list[Image]:
    try:
        addresses = [UUID(text) for text in request.POST.getlist("image")]
    except ValueError:
        raise _Refused("The identifier of a film is invalid; reload the page.") from None
    if not 1 <= len(addresses) <= MOST_FILMS:
        raise _Refused(f"{len(addresses)} films are selected; select 1 to {MOST_FILMS}.")
    films = list(visible(Image.objects.select_related("dataset__site"), request.user).filter(uuid__in=addresses))
    if len(films) != len(set(addresses)):
        raise _Refused("A film does not exist or belongs to another site; reload the page.", status=404)
    return films


def _events_seen(request: SignedInRequest, films: Sequence[Image]) -> dict[int, int]:
    """Events seen by film id; without the field `seen`, all events there are."""
    numbers = request.POST.getlist("seen")
    if not numbers:
        return events_of(films)
    addresses = request.POST.getlist("image")
    if len(numbers) != len(addresses) or not all(text.isascii() and text.isdigit() for text in numbers):
        raise _Refused("`seen` must be a whole number for each film, the number of its label events; reload the page.")
    events_seen = {address: int(text[:9]) for address, text in zip(addresses, numbers, strict=True)}
    return {film.pk: events_seen[str(film.uuid)] for film in films}


def _requested_change(request: SignedInRequest) -> LabelChange:
    return LabelChange(
        value=request.POST.get("value", ""),
        findings=_stated(request.POST.getlist("finding")),
        attributes=_stated(request.POST.getlist("attribute")),
        boxes=_boxes(request),
        reason=request.POST.get("reason", "")[:500],
    )


def _boxes(request: SignedInRequest) -> list[dict[str, Any]] | None:
    if "boxes" not in request.POST:
        return None
    try:
        boxes = json.loads(request.POST["boxes"])
    except (ValueError, RecursionError):
        boxes = None
    if not isinstance(boxes, list) or not all(isinstance(box, dict) for box in boxes):
        raise InvalidLabel("The boxes are not a list of boxes; reload the page and draw them again.")
    return boxes


def _stated(texts: Sequence[str]) -> list[str] | None:
    """The values of a repeated field: None without the field, and an empty list for a single blank value."""
    return [text[:100] for text in texts if text or len(texts) > 1] if texts else None


def _version_at(site: Site) -> int | None:
    """The version of the criteria in force, with which a page notices that its own is out of date."""
    criteria = current_criteria(site)
    return criteria.version if criteria else None


def _uuid_field(request: SignedInRequest, name: str) -> UUID | None:
    try:
        return UUID(request.POST[name]) if request.POST.get(name) else None
    except ValueError:
        raise _Refused(f"The identifier of the {name} is invalid; reload the page.") from None


def _queue(request: SignedInRequest, films: Sequence[Image]) -> ScreeningQueue | None:
    address = _uuid_field(request, "queue")
    if address is None:
        return None
    queue = get_visible(ScreeningQueue.objects.all(), request.user, address)
    if not screening_queues.is_member(queue, [film.pk for film in films]):
        raise _Refused("A film is not in this queue; reload the page.")
    return queue


@require_POST
@_refuse_another_person
def undo_label(request: SignedInRequest) -> JsonResponse:
    """Undo the act `act`. Without it, undo nothing and respond with the person's latest act at the site (`site`, by
    default the chosen site), or the latest on the film `image`."""
    named = request.POST.get("site")
    site = get_visible(Site.objects.all(), request.user, named) if named else request.hilum_site
    site = require(request.user, "label films", site)
    if not request.POST.get("act"):
        return _latest_act(request, site)
    try:
        act = UUID(request.POST["act"])
    except ValueError:
        return _refusal("The identifier of the act is invalid; reload the page.")
    films = list(Image.objects.filter(label_events__batch=act, dataset__site=site))
    try:
        queue = queue_of_act(act)
        if queue is not None and queue.site_id == site.pk:
            read = list(Image.objects.filter(queue_readings__act=act, queue_readings__reader=request.user))
            undo_reading(queue=queue, act=act, reader=request.user)
            return own_readings_now(queue, request.user, act, read)
        _refuse_if_any_withheld(request, films)
        undo(act=act, author=request.user, site=site)
    except _Refused as refused:
        return _refusal(str(refused), status=refused.status)
    except InvalidLabel as error:
        return _refusal(str(error))
    return JsonResponse({"act": str(act), "labels": _labels_now(request, [film.pk for film in films])})


def _refuse_if_any_withheld(request: SignedInRequest, films: Sequence[Image]) -> None:
    """An act is undone for all of its films or for none."""
    patients = blinding.withheld_patients(request.user)
    withheld = [film for film in films if film.patient_id in patients]
    if withheld:
        _not_withheld(request, withheld)


def _latest_act(request: SignedInRequest, site: Site) -> JsonResponse:
    address = request.POST.get("image")
    film = get_visible(Image.objects.all(), request.user, address) if address else None
    last = last_act(author=request.user, site=site, image=film)
    if last is None:
        return _refusal(f"You have nothing to undo {'on this film' if film else 'here'}.")
    try:
        _refuse_if_any_withheld(request, list(Image.objects.filter(label_events__batch=last.uuid)))
    except _Refused as refused:
        return _refusal(str(refused), status=refused.status)
    return JsonResponse({"last": asdict(last)})


def _labels_now(request: SignedInRequest, ids: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Film UUID -> current label (blank without one), findings, attributes, and number of events."""
    rows = Image.objects.filter(pk__in=ids).select_related("current_label")
    films = list(rows.annotate(events=Count("label_events")))
    record_exposure(request.user, Exposure.Kind.LABEL, labelled(films))
    return {
        str(film.uuid): {
            "value": label.value if label else "",
            "findings": label.findings if label else [],
            "attributes": label.attributes if label else [],
            "seen": film.events,
        }
        for film in films
        for label in [getattr(film, "current_label", None)]
    }


def _gone(act: UUID) -> dict[str, Any]:
    """What no longer counts after the act, by film UUID, and as a sentence."""
    losses = losses_of(act)
    addresses = Image.objects.filter(pk__in=losses).values_list("pk", "uuid") if losses else []
    gone = {str(address): losses[image_id].to_json() for image_id, address in addresses}
    return {"gone": gone, "note": words_of(losses.values())}


def _changed(request: SignedInRequest, ids: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Film UUID -> current label, the latest label by another person, and whether the person may settle the film."""
    labels = _labels_now(request, ids)
    events = LabelEvent.objects.filter(image__in=ids).exclude(author=request.user).exclude(author=None)
    change = _requested_change(request)
    for event in events.select_related("image__dataset__site", "author", "reverts").order_by("pk"):
        labels[str(event.image.uuid)]["theirs"] = {
            "value": event.value,
            "findings": event.findings,
            "attributes": event.attributes,
            "reason": event.reason,
            "by": event.author.username if event.author else "",
            "at": event.created_at.isoformat(),
        }
    if len(ids) == 1:  # films are merged one at a time
        film = Image.objects.select_related("dataset__site").get(pk=ids[0])
        labels[str(film.uuid)]["may_settle"] = may_settle(request.user, film, change, film.dataset.site)
    return labels


def _refusal(sentence: str, *, status: int = 400) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)
