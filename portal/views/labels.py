"""Labels by key and in bulk. The answers are JSON: the page changes what it shows only once the label is saved."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet
from django.http import JsonResponse
from django.middleware.csrf import get_token
from django.views.decorators.http import require_GET, require_POST

from portal.labels.disagreements import ChangedAgain, may_settle, merge
from portal.labels.events import InvalidLabel, LabelChange, Labelled, label_as_seen, last_act, undo
from portal.models import Image, LabelEvent, ScreeningQueue, Site
from portal.people.access import get_visible, require, visible
from portal.people.signed_in import SignedInRequest
from portal.sets import screening_queues
from portal.sets.film_filters import events_of

MOST_FILMS = 5000
View = Callable[[SignedInRequest], JsonResponse]


class _Refused(Exception):
    """A sentence, and the status of the answer."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


@require_GET
def session(request: SignedInRequest) -> JsonResponse:
    """Who is logged in, and the token for their next act: a page from before the last log-in asks for it, to send
    what it could not save."""
    return JsonResponse({"person": str(request.user.uuid), "csrf": get_token(request)})


def _of_the_pages_person(view: View) -> View:
    """`person`, where it is sent, is whose act it is: one that was kept in a browser is not somebody else's who logs
    in there."""

    @wraps(view)
    def answer(request: SignedInRequest) -> JsonResponse:
        if request.POST.get("person", str(request.user.uuid)) != str(request.user.uuid):
            return _refusal("Somebody else is logged in now; nothing was saved in their name.", status=403)
        return view(request)

    return answer


@require_POST
@_of_the_pages_person
def label(request: SignedInRequest) -> JsonResponse:
    """`image` (repeated) and `value`; perhaps `finding` (repeated) and `reason`; `seen` (as many as films): how many
    events each had when it was looked at; `act`: the page's own address for the act, so that it can be sent again;
    `queue`: where the film was looked at, and `position`: where the person goes on there. 409 where somebody else
    changed every film meanwhile."""
    try:
        films = _films(request)
        queue = _queue(request, films)
        done = label_as_seen(
            images=films,
            seen=_seen(request, films),
            wish=_wish(request),
            act=_address(request, "act") or uuid.uuid4(),
            author=request.user,
            site=films[0].dataset.site,
            queue=queue,
        )
    except _Refused as refused:
        return _refusal(str(refused), status=refused.status)
    except InvalidLabel as error:
        return _refusal(str(error))
    position = request.POST.get("position", "")
    if queue and position.isascii() and position.isdigit() and len(position) < 10:
        screening_queues.go_to(queue=queue, person=request.user, position=int(position))
    return _answer(request, done)


def _answer(request: SignedInRequest, done: Labelled) -> JsonResponse:
    answer = {"act": str(done.act), "labels": _labels_now(done.labelled), "changed": _changed(request, done.changed)}
    if done.labelled:
        return JsonResponse(answer)
    return JsonResponse({**answer, "error": "Somebody else labelled this film since you opened it."}, status=409)


@require_POST
@_of_the_pages_person
def merge_label(request: SignedInRequest) -> JsonResponse:
    """What becomes of a label that met another one: as for a label, of one film, and `choice`: mine, theirs or
    unresolved."""
    try:
        films = _films(request)
        if len(films) != 1:
            raise _Refused(f"{len(films)} films are named; merge one film at a time.")
        film = films[0]
        merge(
            image=film,
            choice=request.POST.get("choice", ""),
            wish=_wish(request),
            seen=_seen(request, films)[film.pk],
            act=_address(request, "act") or uuid.uuid4(),
            author=request.user,
            site=film.dataset.site,
        )
    except _Refused as refused:
        return _refusal(str(refused), status=refused.status)
    except InvalidLabel as error:
        return _refusal(str(error))
    except ChangedAgain:
        sentence = "The film was labelled once more meanwhile; look at the newest label."
        return JsonResponse({"error": sentence, "changed": _changed(request, [film.pk])}, status=409)
    return JsonResponse({"act": request.POST.get("act", ""), "labels": _labels_now([film.pk]), "changed": {}})


def _films(request: SignedInRequest) -> list[Image]:
    try:
        addresses = [UUID(text) for text in request.POST.getlist("image")]
    except ValueError:
        raise _Refused("An address of a film is damaged; load the page again.") from None
    if not 1 <= len(addresses) <= MOST_FILMS:
        raise _Refused(f"{len(addresses)} films are chosen; choose 1 to {MOST_FILMS}.")
    films = list(visible(Image.objects.select_related("dataset__site"), request.user).filter(uuid__in=addresses))
    if len(films) != len(set(addresses)):
        raise _Refused("A film is not at your site or is gone; load the page again.", status=404)
    return films


def _seen(request: SignedInRequest, films: Sequence[Image]) -> dict[int, int]:
    """Film id -> how many events it had. Who does not say has seen what there is."""
    numbers = request.POST.getlist("seen")
    if not numbers:
        return events_of(films)
    addresses = request.POST.getlist("image")
    if len(numbers) != len(addresses) or not all(text.isascii() and text.isdigit() for text in numbers):
        raise _Refused("`seen` is one whole number for each film: how many label events it had; load the page again.")
    seen = {address: int(text[:9]) for address, text in zip(addresses, numbers, strict=True)}
    return {film.pk: seen[str(film.uuid)] for film in films}


def _wish(request: SignedInRequest) -> LabelChange:
    return LabelChange(
        value=request.POST.get("value", ""),
        findings=[text[:100] for text in request.POST.getlist("finding")],
        reason=request.POST.get("reason", "")[:500],
    )


def _address(request: SignedInRequest, name: str) -> UUID | None:
    try:
        return UUID(request.POST[name]) if request.POST.get(name) else None
    except ValueError:
        raise _Refused(f"The address of the {name} is damaged; load the page again.") from None


def _queue(request: SignedInRequest, films: Sequence[Image]) -> ScreeningQueue | None:
    address = _address(request, "queue")
    if address is None:
        return None
    queue = get_visible(ScreeningQueue.objects.all(), request.user, address)
    if not screening_queues.is_member(queue, [film.pk for film in films]):
        raise _Refused("A film is not in this queue; load the page again.")
    return queue


@require_POST
@_of_the_pages_person
def undo_label(request: SignedInRequest) -> JsonResponse:
    """Take back the act named in `act`. Without one nothing is taken back: the answer says which act of the person
    at the site (of the page, named too) is the latest, of those that touched the film named in `image`, if one is."""
    named = request.POST.get("site")
    site = get_visible(Site.objects.all(), request.user, named) if named else request.hilum_site
    site = require(request.user, "label films", site)
    if not request.POST.get("act"):
        return _last(request, site)
    try:
        act = UUID(request.POST["act"])
    except ValueError:
        return _refusal("The address of the act is damaged; load the page again.")
    films = list(Image.objects.filter(label_events__batch=act, dataset__site=site).values_list("pk", flat=True))
    try:
        undo(act=act, author=request.user, site=site)
    except InvalidLabel as error:
        return _refusal(str(error))
    return JsonResponse({"act": str(act), "labels": _labels_now(films)})


def _last(request: SignedInRequest, site: Site) -> JsonResponse:
    address = request.POST.get("image")
    film = get_visible(Image.objects.all(), request.user, address) if address else None
    last = last_act(author=request.user, site=site, image=film)
    if last is None:
        return _refusal(f"There is nothing of yours to undo {'on this film' if film else 'here'}.")
    return JsonResponse({"last": asdict(last)})


def _labels_now(ids: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Film address -> its label now, blank when it has none, its findings, and how many events it has."""
    return {
        str(film.uuid): {"value": value or "", "findings": findings or [], "seen": events}
        for film, value, findings, events in _with_labels(Image.objects.filter(pk__in=ids))
    }


def _with_labels(films: QuerySet[Image]) -> list[tuple[Image, str | None, list[str] | None, int]]:
    return [
        (film, label.value if label else None, label.findings if label else None, film.events)
        for film in films.select_related("current_label").annotate(events=Count("label_events"))
        for label in [getattr(film, "current_label", None)]
    ]


def _changed(request: SignedInRequest, ids: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Film address -> its label now, who gave the last one of others', when, and whether the person may settle it."""
    labels = _labels_now(ids)
    events = LabelEvent.objects.filter(image__in=ids).exclude(author=request.user).exclude(author=None)
    wish = _wish(request)
    for event in events.select_related("image__dataset__site", "author", "reverts").order_by("pk"):
        labels[str(event.image.uuid)]["theirs"] = {
            "value": event.value,
            "findings": event.findings,
            "reason": event.reason,
            "by": event.author.username if event.author else "",
            "at": event.created_at.isoformat(),
        }
    if len(ids) == 1:  # one film is merged at a time
        film = Image.objects.select_related("dataset__site").get(pk=ids[0])
        labels[str(film.uuid)]["may_settle"] = may_settle(request.user, film, wish, film.dataset.site)
    return labels


def _refusal(sentence: str, *, status: int = 400) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)
