"""Double reading: each reader of a blinded queue reads every film without seeing what the others say.

A reader begins the queue; from then on what is said about its films is withheld from them until their own reading is
in. Readings are rows of their own and no labels: they are on no page of the film, in no filter, count or split, and
within the queue each reader sees their own only. A manager closes the reading, which makes labels of them
(portal.sets.consensus); films on which readers differ go to an adjudicator (portal.sets.adjudicating).
"""

import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from portal.labels.criteria import current_criteria
from portal.labels.events import InvalidLabel, LabelChange, check
from portal.labels.losses import LabelLoss, loss
from portal.labels.resolving import Kept
from portal.models import DoubleReading, Image, NormalAttribute, QueueReader, QueueReading, ScreeningQueue, User
from portal.people import audit, blinding
from portal.people.access import require
from portal.people.exposure import has_seen_label, has_seen_model


class DoubleReadingRefused(Exception):
    """The message is a sentence for the user."""


def reader_of(queue: ScreeningQueue, person: User) -> QueueReader | None:
    """The person's entry among the readers of the queue; None for somebody else."""
    return QueueReader.objects.filter(queue=queue, user=person).first()


def hides_source(queue: ScreeningQueue, person: User) -> bool:
    """Whether the person reads or adjudicates the blinded queue, so that they are not shown where its films come from:
    a queue made of a filter would reveal their labels."""
    if not queue.blinded:
        return False
    return (
        QueueReader.objects.filter(queue=queue, user=person).exists()
        or DoubleReading.objects.filter(queue=queue, adjudicator=person).exists()
    )


def is_reading(reader: QueueReader | None) -> bool:
    """Whether they have begun, and neither handed the queue back nor let it expire."""
    if reader is None or reader.expires_at is None:
        return False
    return reader.expires_at > timezone.now() and reader.handed_back_at is None


def held_double_reading(queue: ScreeningQueue) -> DoubleReading:
    """The row of the double reading, locked until the transaction ends, so that whoever reads, closes or settles takes
    turns. Raises DoubleReadingRefused for a queue that is not read in this way."""
    double = DoubleReading.objects.select_for_update().filter(queue=queue).first()
    if double is None:
        raise DoubleReadingRefused(f"The queue {queue.name} is no double reading.")
    return double


def begin(*, queue: ScreeningQueue, person: User) -> QueueReader:
    """Begin to read the queue, or continue after handing it back or after its expiry: from now on, what is said about
    the films that the person has not read in it is withheld from them. Raises DoubleReadingRefused."""
    require(person, "label films", queue.site)
    with transaction.atomic():
        double = held_double_reading(queue)
        reader = reader_of(queue, person)
        if reader is None:
            raise DoubleReadingRefused(
                f"The queue {queue.name} is read by other people, who were named when it was made."
            )
        if double.closed_at is not None:
            raise DoubleReadingRefused(f"The double reading {queue.name} is closed; nothing is read in it any more.")
        if is_reading(reader):
            return reader
        reader.expires_at, reader.handed_back_at = timezone.now() + timedelta(days=queue.days_to_read), None
        reader.save(update_fields=["expires_at", "handed_back_at"])
        done = own_readings(queue, person)
        films = [image for image in Image.objects.filter(queue_images__queue=queue) if image.pk not in done]
        _withhold(reader, films, days=queue.days_to_read)
        after = {"unread": len(films), "expires_at": reader.expires_at.isoformat()}
        audit.record(verb="begin double reading", site=queue.site, actor=person, target=queue, after=after)
    return reader


def _withhold(reader: QueueReader, films: Iterable[Image], *, days: int) -> None:
    queue = reader.queue
    blinding.open_for(person=reader.user, images=films, source=queue.uuid, words=f"the queue {queue.name}", days=days)


def hand_back(*, queue: ScreeningQueue, person: User) -> int:
    """Stop reading. Readings so far stay; the number of films left unread is returned. Raises DoubleReadingRefused."""
    with transaction.atomic():
        held_double_reading(queue)
        reader = reader_of(queue, person)
        if reader is None or not is_reading(reader):
            raise DoubleReadingRefused("You are not reading this queue, so there is nothing to hand back.")
        left = queue.films - len(own_readings(queue, person))
        reader.handed_back_at = timezone.now()
        reader.save(update_fields=["handed_back_at"])
        blinding.hand_back(person=person, source=queue.uuid)
        audit.record(
            verb="hand back double reading", site=queue.site, actor=person, target=queue, after={"unread": left}
        )
    return left


# Readings


def read_blinded(
    *, queue: ScreeningQueue, images: Sequence[Image], change: LabelChange, act: uuid.UUID, reader: User
) -> list[QueueReading]:
    """Store the reader's own reading of the films, which are no longer withheld from them because of this queue. What
    the change does not state is taken from the reader's own earlier reading, if that has the same value, and from
    nobody else's label. An act that is already stored is not written again. Raises InvalidLabel and PermissionDenied.
    """
    with transaction.atomic():
        _require_reading(queue, reader)
        ids = {image.pk for image in images}
        if queue.members.filter(image__in=ids).count() != len(ids):
            raise InvalidLabel("A film is not in this queue; reload the page.")
        kept = list(QueueReading.objects.filter(act=act).order_by("pk"))
        if kept:
            if any(row.reader_id != reader.pk or row.queue_id != queue.pk for row in kept):
                raise InvalidLabel("This act belongs to another person or to another queue; reload the page.")
            return kept
        earlier = own_readings(queue, reader, [image.pk for image in images])
        own = {finding for row in earlier.values() for finding in row.findings}
        change = check(images=images, change=change, author=reader, site=queue.site, own=own)
        criteria = current_criteria(queue.site)
        rows = [
            QueueReading(
                queue=queue,
                image=image,
                reader=reader,
                act=act,
                criteria=criteria,
                comment=change.reason,
                model_shown=has_seen_model(reader, image),
                label_shown=has_seen_label(reader, image),
                **_content(change, earlier.get(image.pk)),
            )
            for image in images
        ]
        QueueReading.objects.bulk_create(rows)
        for image in images:
            blinding.close_read(person=reader, image=image, source=queue.uuid)
        after = {"films": len(rows), "act": str(act)}  # without the value, which others must not read in the audit
        audit.record(verb="read film of double reading", site=queue.site, actor=reader, target=queue, after=after)
    return rows


def _content(change: LabelChange, earlier: QueueReading | None) -> dict[str, Any]:
    kept = _kept(earlier) if earlier is not None and earlier.value == change.value else Kept()
    attributes = kept.attributes if change.attributes is None else change.attributes
    return {
        "value": change.value,
        "findings": list(kept.findings if change.findings is None else change.findings),
        "attributes": [value for value in NormalAttribute.values if value in attributes],
        "boxes": [dict(box) for box in (kept.boxes if change.boxes is None else change.boxes)],
    }


def _kept(reading: QueueReading) -> Kept:
    return Kept(reading.value, tuple(reading.findings), tuple(reading.boxes), tuple(reading.attributes))


def _require_reading(queue: ScreeningQueue, person: User) -> None:
    """Raises PermissionDenied unless the person is reading the queue now."""
    double, reader = held_double_reading(queue), reader_of(queue, person)
    if reader is None:
        raise PermissionDenied(f"The queue {queue.name} is read by other people, who were named when it was made.")
    if double.closed_at is not None:
        raise PermissionDenied(f"The double reading {queue.name} is closed; nothing is read in it any more.")
    if not is_reading(reader):
        raise PermissionDenied(f"You are not reading the queue {queue.name} at present; begin it on its page first.")


def undo_reading(*, queue: ScreeningQueue, act: uuid.UUID, reader: User) -> int:
    """Take back an act of the queue; films without an earlier reading are withheld again. Returns the number of films.
    Raises InvalidLabel and PermissionDenied."""
    with transaction.atomic():
        _require_reading(queue, reader)
        rows = list(_counted(queue).filter(act=act, reader=reader).select_related("image"))
        if not rows:
            raise InvalidLabel("There is nothing to undo: the act is not yours, or it was already undone.")
        undo_act = uuid.uuid4()
        QueueReading.objects.bulk_create(
            [QueueReading(queue=queue, image=row.image, reader=reader, act=undo_act, reverts=row) for row in rows]
        )
        entry = reader_of(queue, reader)
        if entry is not None and entry.expires_at is not None:
            done = own_readings(queue, reader)
            days = math.ceil((entry.expires_at - timezone.now()) / timedelta(days=1))
            _withhold(entry, [row.image for row in rows if row.image_id not in done], days=days)
        before = {"act": str(act)}
        audit.record(verb="undo double reading", site=queue.site, actor=reader, target=queue, before=before)
    return len(rows)


def queue_of_act(act: uuid.UUID) -> ScreeningQueue | None:
    """The blinded queue in which the films of the act were read, if there is one."""
    return ScreeningQueue.objects.filter(pk__in=QueueReading.objects.filter(act=act).values("queue")).first()


def _counted(queue: ScreeningQueue) -> Any:
    return QueueReading.objects.filter(queue=queue, reverts__isnull=True, reverted_by__isnull=True)


def own_readings(
    queue: ScreeningQueue, person: User, image_ids: Sequence[int] | None = None
) -> dict[int, QueueReading]:
    """The person's reading of each film of the queue, by film id; of several, the latest."""
    rows = _counted(queue).filter(reader=person)
    if image_ids is not None:
        rows = rows.filter(image_id__in=image_ids)
    return {row.image_id: row for row in rows.order_by("pk")}


def readings_of(queue: ScreeningQueue, image_ids: Sequence[int] | None = None) -> dict[int, dict[int, QueueReading]]:
    """Every reader's reading, by film id and then by the reader's id. Not for the eyes of readers."""
    rows = _counted(queue).select_related("criteria").order_by("pk")
    if image_ids is not None:
        rows = rows.filter(image_id__in=image_ids)
    by_film: dict[int, dict[int, QueueReading]] = {}
    for row in rows:
        by_film.setdefault(row.image_id, {})[row.reader_id] = row
    return by_film


def reading_losses(rows: Sequence[QueueReading]) -> dict[int, LabelLoss]:
    """What the readings took away from the reader's own earlier ones, by film id."""
    losses: dict[int, LabelLoss] = {}
    for row in rows:
        before = _counted(row.queue).filter(reader=row.reader_id, image=row.image_id, pk__lt=row.pk).order_by("pk")
        earlier = before.last()
        gone = loss(_kept(earlier), row.findings, len(row.boxes), row.attributes) if earlier else None
        if gone is not None:
            losses[row.image_id] = gone
    return losses


# Progress


@dataclass(frozen=True)
class ReaderProgress:
    """How far a reader is. `state` is one of not begun, reading, handed back, expired, done."""

    person: User
    read: int
    state: str


def progress_of(queue: ScreeningQueue) -> list[ReaderProgress]:
    """How far each reader is, by name."""
    read = _counted(queue).values_list("reader_id").annotate(films=Count("image", distinct=True)).order_by()
    films: dict[int, int] = dict(read)
    return [
        ReaderProgress(reader.user, read, _state(reader, read, queue.films))
        for reader in queue.readers.select_related("user").order_by("user__username")
        for read in [films.get(reader.user_id, 0)]
    ]


def _state(reader: QueueReader, read: int, films: int) -> str:
    if read >= films:
        return "done"
    if reader.expires_at is None:
        return "not begun"
    if reader.handed_back_at is not None:
        return "handed back"
    return "reading" if is_reading(reader) else "expired"


def was_shown_first(reading: QueueReading) -> bool:
    """Whether the reader had been shown a score or map of the film before, or a label of it within the washout."""
    return reading.model_shown or reading.label_shown


@dataclass(frozen=True)
class FilmValues:
    """What the readers called a film, and whether one of them had been shown a score, map or label of it first."""

    values: frozenset[str]
    shown_first: bool

    @property
    def differ(self) -> bool:
        return len(self.values) > 1

    @property
    def is_consensus(self) -> bool:
        """Whether the readings make a label: all the same, and each from the film alone."""
        return not self.differ and not self.shown_first


def values_of(queue: ScreeningQueue, image_ids: Sequence[int] | None = None) -> dict[int, FilmValues]:
    """What each film that every reader has read was called, by film id. Without the rest of the readings, which would
    be slow for thousands of films."""
    readers = set(queue.readers.values_list("user_id", flat=True))
    rows = _counted(queue).order_by("pk")
    if image_ids is not None:
        rows = rows.filter(image_id__in=image_ids)
    by_film: dict[int, dict[int, tuple[str, bool]]] = {}
    fields = ("image_id", "reader_id", "value", "model_shown", "label_shown")
    for image_id, reader_id, value, model_shown, label_shown in rows.values_list(*fields):
        by_film.setdefault(image_id, {})[reader_id] = (value, model_shown or label_shown)
    return {
        image_id: FilmValues(
            frozenset(value for value, _ in of_film.values()), any(shown for _, shown in of_film.values())
        )
        for image_id, of_film in by_film.items()
        if of_film.keys() >= readers
    }


def read_by_all(queue: ScreeningQueue) -> dict[int, list[QueueReading]]:
    """The readings of each film that every reader has read, by film id, oldest first."""
    readers = set(queue.readers.values_list("user_id", flat=True))
    return {
        image_id: sorted(of_film.values(), key=lambda row: row.pk)
        for image_id, of_film in readings_of(queue).items()
        if of_film.keys() >= readers
    }
