"""Adjudication of a double reading: a named third person settles the films that have no consensus.

The adjudicator begins the list; from then on what is said about its films is withheld from them. On each film they give
a verdict of their own, which is locked; then they see the readings, and settle the film with one label event.
"""

import uuid
from dataclasses import replace
from datetime import timedelta

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from portal.labels.events import LabelChange, check
from portal.models import (
    Adjudication,
    AdjudicatorVerdict,
    Consensus,
    DoubleReading,
    Exposure,
    Image,
    LabelEvent,
    LabelSource,
    NormalAttribute,
    QueueReading,
    ScreeningQueue,
    User,
)
from portal.people import audit, blinding
from portal.people.access import may, people_who_may, require
from portal.people.exposure import has_seen_label, has_seen_model, record_exposure
from portal.sets.consensus import is_to_settle, latest_boxes, to_settle, write_consensus
from portal.sets.double_reading import DoubleReadingRefused, held_double_reading, readings_of

DEFAULT_REASON = "Settled after an own verdict, with the readings in view."


def possible_adjudicators(queue: ScreeningQueue) -> list[User]:
    """The people who may adjudicate at the site and are none of the readers, by name."""
    readers = set(queue.readers.values_list("user_id", flat=True))
    return [person for person in people_who_may("adjudicate labels", queue.site) if person.pk not in readers]


def name_adjudicator(*, queue: ScreeningQueue, adjudicator: User, author: User) -> None:
    """Name the person who settles what readers differ on. One who was named before keeps nothing open. Raises
    DoubleReadingRefused."""
    require(author, "close double readings", queue.site)
    with transaction.atomic():
        double = held_double_reading(queue)
        if queue.readers.filter(user=adjudicator).exists():
            raise DoubleReadingRefused(f"{adjudicator.username} is one of the readers; choose a third person.")
        if not may(adjudicator, "adjudicate labels", queue.site):
            raise DoubleReadingRefused(f"{adjudicator.username} may not adjudicate labels; choose somebody who may.")
        if double.adjudicator_id == adjudicator.pk:
            return
        if double.adjudicator is not None:
            blinding.hand_back(person=double.adjudicator, source=queue.uuid)
        before = {"adjudicator": str(double.adjudicator.uuid) if double.adjudicator else None}
        double.adjudicator, double.expires_at, double.handed_back_at = adjudicator, None, None
        double.save(update_fields=["adjudicator", "expires_at", "handed_back_at"])
        after = {"adjudicator": str(adjudicator.uuid)}
        audit.record(verb="name adjudicator", site=queue.site, actor=author, target=queue, before=before, after=after)


def require_adjudicator(queue: ScreeningQueue, person: User) -> DoubleReading:
    """The double reading, if this person adjudicates it. Raises PermissionDenied."""
    double = DoubleReading.objects.filter(queue=queue).select_related("adjudicator").first()
    if double is None or double.adjudicator_id != person.pk:
        raise PermissionDenied(f"The readings of {queue.name} are settled by another person, or nobody is named yet.")
    require(person, "adjudicate labels", queue.site)
    return double


def is_adjudicating(double: DoubleReading) -> bool:
    """Whether the adjudicator has begun, and neither handed the list back nor let it expire."""
    if double.expires_at is None:
        return False
    return double.expires_at > timezone.now() and double.handed_back_at is None


def verdicts_of(queue: ScreeningQueue, person: User) -> dict[int, AdjudicatorVerdict]:
    """The person's own verdicts, by film id."""
    return {row.image_id: row for row in AdjudicatorVerdict.objects.filter(queue=queue, adjudicator=person)}


def begin_adjudication(*, queue: ScreeningQueue, person: User) -> None:
    """Begin, or continue: what is said about the films without an own verdict is withheld from now on. Raises
    DoubleReadingRefused and PermissionDenied."""
    require_adjudicator(queue, person)
    with transaction.atomic():
        double = held_double_reading(queue)
        if double.closed_at is None:
            raise DoubleReadingRefused("The reading is not closed yet; a manager closes it on the queue's page.")
        if is_adjudicating(double):
            return
        verdicts = verdicts_of(queue, person)
        films = [film for film in to_settle(queue) if film.pk not in verdicts]
        double.expires_at, double.handed_back_at = timezone.now() + timedelta(days=queue.days_to_read), None
        double.save(update_fields=["expires_at", "handed_back_at"])
        words = f"the adjudication of {queue.name}"
        blinding.open_for(person=person, images=films, source=queue.uuid, words=words, days=queue.days_to_read)
        audit.record(
            verb="begin adjudication", site=queue.site, actor=person, target=queue, after={"films": len(films)}
        )


def hand_back_adjudication(*, queue: ScreeningQueue, person: User) -> None:
    """Stop. Own verdicts stay. Raises DoubleReadingRefused and PermissionDenied."""
    require_adjudicator(queue, person)
    with transaction.atomic():
        double = held_double_reading(queue)
        if not is_adjudicating(double):
            raise DoubleReadingRefused("You have not begun this adjudication, so there is nothing to hand back.")
        double.handed_back_at = timezone.now()
        double.save(update_fields=["handed_back_at"])
        blinding.hand_back(person=person, source=queue.uuid)
        audit.record(verb="hand back adjudication", site=queue.site, actor=person, target=queue)


def give_verdict(*, queue: ScreeningQueue, image: Image, change: LabelChange, person: User) -> AdjudicatorVerdict:
    """Store the adjudicator's own verdict, before they see the readings. It is given once. Raises DoubleReadingRefused,
    InvalidLabel and PermissionDenied."""
    require_adjudicator(queue, person)
    with transaction.atomic():
        double = held_double_reading(queue)
        if not is_adjudicating(double):
            raise DoubleReadingRefused("Begin the adjudication first; its films are withheld from you from then on.")
        if image.pk in verdicts_of(queue, person):
            raise DoubleReadingRefused("Your own verdict on this film is locked; settle the film with it in view.")
        _require_to_settle(queue, image)
        model_shown = has_seen_model(person, image)
        return store_own_verdict(
            image=image, change=change, person=person, model_shown=model_shown, source=queue.uuid, queue=queue
        )


def store_own_verdict(
    *,
    image: Image,
    change: LabelChange,
    person: User,
    model_shown: bool,
    source: uuid.UUID,
    queue: ScreeningQueue | None = None,
) -> AdjudicatorVerdict:
    """Store a verdict before the readings are shown, and end the withholding of the film by the list `source`. Select
    `dataset__site` with the film, and hold it. Raises InvalidLabel and PermissionDenied."""
    site = image.dataset.site
    change = check(images=[image], change=change, author=person, site=site, own=frozenset())
    attributes = change.attributes or ()
    verdict = AdjudicatorVerdict.objects.create(
        queue=queue,
        image=image,
        adjudicator=person,
        value=change.value,
        findings=list(change.findings or ()),
        attributes=[value for value in NormalAttribute.values if value in attributes],
        comment=change.reason,
        model_shown=model_shown,
        label_shown=has_seen_label(person, image),
    )
    blinding.close_read(person=person, image=image, source=source)
    audit.record(verb="give own verdict", site=site, actor=person, target=image)
    return verdict


def _require_to_settle(queue: ScreeningQueue, image: Image) -> None:
    if not is_to_settle(queue, image):
        raise DoubleReadingRefused(f"{image} is not among the films to settle, or it is settled already.")


def readings_to_settle(*, queue: ScreeningQueue, image: Image, person: User) -> list[QueueReading]:
    """The readings of the film, in an order that does not tell who they are from; recorded as shown. Raises
    DoubleReadingRefused while the own verdict, or one on another film of the patient, is missing."""
    require_adjudicator(queue, person)
    if image.pk not in verdicts_of(queue, person):
        raise DoubleReadingRefused("Give your own verdict first; the readings appear after it.")
    if blinding.is_withheld(person, image):
        raise DoubleReadingRefused(
            "Another film of this patient still waits for your own verdict; the readings appear after it."
        )
    rows = sorted(readings_of(queue, [image.pk]).get(image.pk, {}).values(), key=lambda row: row.uuid)
    record_exposure(person, Exposure.Kind.LABEL, [image.pk])
    return rows


def settle(*, queue: ScreeningQueue, image: Image, change: LabelChange, person: User) -> Consensus:
    """Settle a film, by a single label event that overrides all other labels. Boxes are those of the latest reading
    with this value that has any. Raises DoubleReadingRefused, InvalidLabel and PermissionDenied."""
    with transaction.atomic():
        held_double_reading(queue)
        rows = readings_to_settle(queue=queue, image=image, person=person)
        _require_to_settle(queue, image)
        own = {finding for row in rows for finding in row.findings}
        change = check(images=[image], change=change, author=person, site=queue.site, own=own)
        change = replace(change, reason=change.reason or DEFAULT_REASON)
        verdict = verdicts_of(queue, person)[image.pk]
        settles = image.label_events.filter(
            source=LabelSource.READER, reverts__isnull=True, reverted_by__isnull=True
        ).order_by("pk")
        settled = [str(address) for address in settles.values_list("uuid", flat=True)]
        event = _settling_event(queue, image, rows, change, person)
        (consensus,) = write_consensus(queue, [(event, rows)])
        Adjudication.objects.create(
            image=image,
            settles=settled,
            settles_readings=[str(row.uuid) for row in rows],
            adjudicator=person,
            verdict=change.value,
            reason=change.reason,
            label_event=event,
            own_verdict=verdict,
            changed_own_verdict=change.value != verdict.value,
        )
        after = {
            "value": change.value,
            "findings": event.findings,
            "settles": settled,
            "settles readings": [str(row.uuid) for row in rows],
        }
        audit.record(
            verb="settle double reading",
            site=queue.site,
            actor=person,
            target=image,
            after=after,
            reason=change.reason,
        )
    return consensus


def _settling_event(
    queue: ScreeningQueue, image: Image, rows: list[QueueReading], change: LabelChange, person: User
) -> LabelEvent:
    attributes = change.attributes or ()
    return LabelEvent(
        image=image,
        value=change.value,
        findings=list(change.findings or ()),
        attributes=[value for value in NormalAttribute.values if value in attributes],
        boxes=latest_boxes([row for row in rows if row.value == change.value]),
        author=person,
        source=LabelSource.ADJUDICATION,
        reason=change.reason,
        queue=queue,
        batch=uuid.uuid4(),
    )
