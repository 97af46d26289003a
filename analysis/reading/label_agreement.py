"""How far the readers of a double reading agree: the numbers of its page, and the table of readings and consensus."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django.core.exceptions import PermissionDenied

from analysis import statistics
from portal.models import Consensus, DoubleReading, Image, LabelSource, LabelValue, QueueReading, ScreeningQueue, User
from portal.sets.consensus import agree, may_see_results
from portal.sets.double_reading import readings_of, was_shown_first

VALUES = [str(value) for value in LabelValue.values]
SEED = 0


def require_results(queue: ScreeningQueue, person: User) -> None:
    """Raises PermissionDenied unless the person may see what the readers said."""
    if not may_see_results(queue, person):
        raise PermissionDenied(
            "What readers said is shown to adjudicators, analysts and managers who neither read nor settle in this "
            "queue, and to everybody who takes part in it once every film is settled."
        )


@dataclass(frozen=True)
class FilmReadings:
    """A film of the queue with the readings of those who have read it, by the reader's id, and what it ended with."""

    position: int
    image: Image
    readings: dict[int, QueueReading]
    consensus: Consensus | None

    @property
    def is_disputed(self) -> bool:
        return len(self.readings) > 1 and not agree(list(self.readings.values()))

    @property
    def was_shown_first(self) -> bool:
        """Whether a reader had been shown a score, map or label of the film first."""
        return any(was_shown_first(reading) for reading in self.readings.values())


def read_films(queue: ScreeningQueue) -> list[FilmReadings]:
    """The films that somebody has read, in the queue's order."""
    readings = readings_of(queue)
    ended = {
        row.image_id: row
        for row in Consensus.objects.filter(queue=queue).select_related(
            "label_event__author", "label_event__criteria", "label_event__adjudication__own_verdict"
        )
    }
    members = queue.members.filter(image__in=readings).select_related("image__patient").order_by("position")
    return [
        FilmReadings(member.position, member.image, readings[member.image_id], ended.get(member.image_id))
        for member in members
    ]


def readers_of_queue(queue: ScreeningQueue) -> list[User]:
    return [row.user for row in queue.readers.select_related("user").order_by("user__username")]


def label_agreement(queue: ScreeningQueue, films: list[FilmReadings]) -> dict[str, Any]:
    """Counts, agreement with its intervals, the table of two readers, and each reader against the consensus, as JSON
    values. `films` are `read_films`."""
    readers = readers_of_queue(queue)
    double = DoubleReading.objects.get(queue=queue)
    codes = np.full((len(films), len(readers)), np.nan)
    for row, film in enumerate(films):
        for column, reader in enumerate(readers):
            if reader.pk in film.readings:
                codes[row, column] = VALUES.index(film.readings[reader.pk].value)
    patients = np.array([film.image.patient_id for film in films], dtype=np.int64)
    complete = [film for film in films if len(film.readings) == len(readers)]
    sources = Counter(film.consensus.label_event.source for film in films if film.consensus)
    return {
        "films": queue.films,
        "closed": double.closed_at is not None,
        "read_by_all": len(complete),
        "agreed": sum(not film.is_disputed for film in complete),
        "disputed": sum(film.is_disputed for film in complete),
        "agreed_after_being_shown": sum(not film.is_disputed and film.was_shown_first for film in complete),
        "labelled_by_consensus": sources[LabelSource.CONSENSUS],
        "settled": sources[LabelSource.ADJUDICATION],
        "agreement": asdict(statistics.double_reading_agreement(codes, patients, seed=SEED)),
        "readers": [_of_reader(reader, films) for reader in readers],
        "table": _table(films, readers) if len(readers) == 2 else None,
        "own_verdicts": _own_verdicts(films),
    }


def _of_reader(reader: User, films: list[FilmReadings]) -> dict[str, Any]:
    """How often the reader gave each value, and agreed with what the films ended with."""
    own = [film for film in films if reader.pk in film.readings]
    ended = [film for film in own if film.consensus is not None]
    same = sum(
        film.consensus is not None and film.readings[reader.pk].value == film.consensus.label_event.value
        for film in ended
    )
    counts = Counter(film.readings[reader.pk].value for film in own)
    return {
        "reader": reader.username,
        "read": len(own),
        "values": {value: counts[value] for value in VALUES},
        "ended": len(ended),
        "as_consensus": same,
        "after_seeing_the_model": sum(film.readings[reader.pk].model_shown for film in own),
        "after_seeing_a_label": sum(film.readings[reader.pk].label_shown for film in own),
    }


def _table(films: list[FilmReadings], readers: list[User]) -> dict[str, Any]:
    """The films that both of two readers have read, by their values: rows of the first, columns of the second."""
    first, second = readers
    pairs = Counter(
        (film.readings[first.pk].value, film.readings[second.pk].value)
        for film in films
        if first.pk in film.readings and second.pk in film.readings
    )
    used = [value for value in VALUES if any(value in pair for pair in pairs)]
    return {
        "first": first.username,
        "second": second.username,
        "values": used,
        "rows": [{"value": row, "counts": [pairs[row, column] for column in used]} for row in used],
    }


def _own_verdicts(films: list[FilmReadings]) -> dict[str, int]:
    """How often the adjudicator settled otherwise than they had said before they saw the readings."""
    settled = [
        film.consensus.label_event.adjudication
        for film in films
        if film.consensus and film.consensus.label_event.source == LabelSource.ADJUDICATION
    ]
    return {"settled": len(settled), "changed": sum(bool(row.changed_own_verdict) for row in settled)}


COLUMNS = (
    *("film", "position", "patient", "reader", "value", "findings", "attributes", "boxes [count]"),
    *("comment", "read at", "criteria [version]", "model shown", "label shown"),
    *("consensus", "consensus findings", "consensus origin", "settled by", "own verdict of the adjudicator", "reason"),
)


def readings_table(queue: ScreeningQueue) -> list[tuple[Any, ...]]:
    """A row for each reading that counts, with what its film ended with."""
    readers = readers_of_queue(queue)
    return [
        (
            *_reading_cells(film, film.readings[reader.pk], reader),
            *_consensus_cells(film.consensus),
        )
        for film in read_films(queue)
        for reader in readers
        if reader.pk in film.readings
    ]


def _reading_cells(film: FilmReadings, reading: QueueReading, reader: User) -> tuple[Any, ...]:
    return (
        str(film.image.uuid),
        film.position,
        str(film.image.patient.uuid),
        reader.username,
        reading.value,
        "|".join(reading.findings),
        "|".join(reading.attributes),
        len(reading.boxes),
        reading.comment,
        reading.created_at.isoformat(),
        reading.criteria.version if reading.criteria else None,
        reading.model_shown,
        reading.label_shown,
    )


def _consensus_cells(consensus: Consensus | None) -> tuple[Any, ...]:
    if consensus is None:
        return (None,) * 6
    event = consensus.label_event
    cells = (event.value, "|".join(event.findings), event.source)
    if event.source != LabelSource.ADJUDICATION:
        return (*cells, None, None, None)
    own = event.adjudication.own_verdict
    return (*cells, event.author.username if event.author else None, own.value if own else None, event.reason)
