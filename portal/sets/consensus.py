"""From readings to labels: closing a double reading, and the label event that it ends with on each film.

Closing is a manager's act: nothing is read or corrected afterwards. Each film that all readers have read and called the
same gets one label event with the source `consensus`, unless one of them had been shown a score, map or label of the
film first: agreement with what was shown is no second opinion. These and the films on which readers differ wait for the
adjudicator, whose label event has the source `adjudication`. A film has one consensus in a queue; the database refuses
a second.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from portal.labels.events import append
from portal.models import (
    Consensus,
    DoubleReading,
    Image,
    LabelEvent,
    LabelSource,
    NormalAttribute,
    QueueReading,
    ScreeningQueue,
    User,
)
from portal.people import audit, blinding
from portal.people.access import may, require
from portal.sets.bulk_insert import insert
from portal.sets.double_reading import (
    DoubleReadingRefused,
    FilmValues,
    held_double_reading,
    read_by_all,
    values_of,
    was_shown_first,
)

MANY = 1000


@dataclass(frozen=True)
class Closing:
    """What closing does, or has done: films that get a label by agreement; that go to the adjudicator, because readers
    differ, or because a reader who agrees had been shown a score, map or label first; and that stay without a label
    because not all readers have read them."""

    agreed: int
    differing: int
    shown_first: int
    unread: int


def preview_of(queue: ScreeningQueue) -> Closing:
    """What closing would do now. It tells how many films readers differ on, so it is not for their eyes."""
    films = values_of(queue)
    agreed = sum(film.is_consensus for film in films.values())
    differing = sum(film.differ for film in films.values())
    return Closing(agreed, differing, len(films) - agreed - differing, queue.films - len(films))


def agree(rows: Sequence[QueueReading]) -> bool:
    """Whether the readings have one value; findings may differ."""
    return len({row.value for row in rows}) == 1


def close(*, queue: ScreeningQueue, person: User) -> Closing:
    """Close the reading and label the films on which its readers agree from the film alone. What they have not read is
    handed back. Raises DoubleReadingRefused."""
    require(person, "close double readings", queue.site)
    with transaction.atomic():
        double = held_double_reading(queue)
        if double.closed_at is not None:
            raise DoubleReadingRefused(f"The double reading {queue.name} is closed already.")
        by_film = read_by_all(queue)
        if not by_film:
            raise DoubleReadingRefused("No film has been read by all readers yet, so there is nothing to close.")
        double.closed_at, double.closed_by = timezone.now(), person
        double.save(update_fields=["closed_at", "closed_by"])
        for reader in queue.readers.select_related("user"):
            blinding.hand_back(person=reader.user, source=queue.uuid)
        write_consensus(
            queue,
            [
                (agreed_label(rows, author=person, source=LabelSource.CONSENSUS, reason=_reason(queue)), rows)
                for rows in by_film.values()
                if agree(rows) and not any(was_shown_first(row) for row in rows)
            ],
        )
        done = preview_of(queue)
        after = {
            "agreed": done.agreed,
            "differing": done.differing,
            "shown first": done.shown_first,
            "not read by all": done.unread,
        }
        audit.record(verb="close double reading", site=queue.site, actor=person, target=queue, after=after)
    return done


def _reason(queue: ScreeningQueue) -> str:
    names = queue.readers.order_by("user__username").values_list("user__username", flat=True)
    return f"Double reading {queue.name}: {', '.join(names)} agree."[:500]


def agreed_label(rows: Sequence[QueueReading], *, author: User, source: str, reason: str) -> LabelEvent:
    """The label event of readings of one value: all their findings and attributes, and the boxes of the latest reading
    that has any, so that a lesion that two people marked counts once."""
    attributes = {attribute for row in rows for attribute in row.attributes}
    return LabelEvent(
        image_id=rows[0].image_id,
        value=rows[0].value,
        findings=list(dict.fromkeys(finding for row in rows for finding in row.findings)),
        attributes=[value for value in NormalAttribute.values if value in attributes],
        boxes=latest_boxes(rows),
        author=author,
        source=source,
        reason=reason,
        queue_id=rows[0].queue_id,
        batch=uuid.uuid4(),
    )


def latest_boxes(rows: Sequence[QueueReading]) -> list[dict[str, float]]:
    return next((list(row.boxes) for row in sorted(rows, key=lambda row: -row.pk) if row.boxes), [])


def write_consensus(
    queue: ScreeningQueue, labelled: Iterable[tuple[LabelEvent, Sequence[QueueReading]]]
) -> list[Consensus]:
    """Append the label events, and remember the readings behind each. Call inside a transaction."""
    pairs = list(labelled)
    if not pairs:
        return []
    append([event for event, _ in pairs])
    rows = [Consensus(queue=queue, image_id=event.image_id, label_event=event) for event, _ in pairs]
    Consensus.objects.bulk_create(rows, batch_size=MANY)
    behind = [(row.pk, reading.pk) for row, (_, readings) in zip(rows, pairs, strict=True) for reading in readings]
    insert(Consensus.readings.through, ("consensus_id", "queuereading_id"), behind)
    return rows


def to_settle(queue: ScreeningQueue) -> list[Image]:
    """The films of a closed double reading on which its readers differ, or agree after one of them had been shown
    something, and which are not settled yet, in the queue's order."""
    if not DoubleReading.objects.filter(queue=queue, closed_at__isnull=False).exists():
        return []
    films = _without_consensus(values_of(queue)) - set(queue.consensus.values_list("image_id", flat=True))
    members = queue.members.filter(image__in=films).select_related("image__dataset__site").order_by("position")
    return [member.image for member in members]


def is_to_settle(queue: ScreeningQueue, image: Image) -> bool:
    """Whether the film is one of these."""
    is_closed = DoubleReading.objects.filter(queue=queue, closed_at__isnull=False).exists()
    is_settled = queue.consensus.filter(image=image).exists()
    return is_closed and not is_settled and bool(_without_consensus(values_of(queue, [image.pk])))


def _without_consensus(films: dict[int, FilmValues]) -> set[int]:
    return {image_id for image_id, film in films.items() if not film.is_consensus}


def is_finished(queue: ScreeningQueue) -> bool:
    """Whether the reading is closed and every film that went to the adjudicator is settled."""
    double = DoubleReading.objects.filter(queue=queue, closed_at__isnull=False).first()
    return double is not None and not to_settle(queue)


def may_see_results(queue: ScreeningQueue, person: User) -> bool:
    """Whether the person may see readings of others. Readers and the adjudicator may when the double reading is
    finished, whatever their other roles."""
    double = DoubleReading.objects.filter(queue=queue).first()
    if double is None:
        return False
    takes_part = queue.readers.filter(user=person).exists() or double.adjudicator_id == person.pk
    return is_finished(queue) if takes_part else may(person, "see double readings", queue.site)
