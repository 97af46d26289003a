"""Imported labels: of a film that an import brings, and of a film that is there and that a CSV names."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from django.db import transaction

from portal.intake.csv_labels import Box, CsvRow, RowReading
from portal.intake.name_matching import Rule, match_names
from portal.labels.events import append
from portal.models import CurrentLabel, Dataset, Image, LabelEvent, LabelSource, LabelValue

_BATCH = 500  # old builds of SQLite allow 999 parameters


class RowOutcome(StrEnum):
    """What a row of a CSV did to the imported label of a film; also the names of the counts of an import's report."""

    NO_LABEL = "rows without a label"
    LABELLED = "labelled"
    CHANGED = "labels changed"
    UNCHANGED = "labels unchanged"
    OF_PEOPLE = "labels of people"


def append_label(image: Image, row: CsvRow | None, *, boxes: Sequence[Box]) -> None:
    if row is None:
        return
    if events := _events_of(image, row, boxes=boxes):
        append(events)


def append_change(image: Image, row: CsvRow, boxes: Sequence[Box] | None) -> RowOutcome:
    """Append the label of a row, which replaces the earlier imported label, if it differs from that. Findings,
    attributes and boxes for which the CSV files have no column stay unchanged. Readings replace those of the same
    readers."""
    if not row.label and not row.readings:
        return RowOutcome.NO_LABEL
    if row.is_of_people and has_label_of_readers(image):  # the film has it from them, or another one since
        return RowOutcome.OF_PEOPLE
    imported = image.label_events.filter(source=LabelSource.IMPORT, reverts__isnull=True).order_by("created_at", "pk")
    latest = {event.reader: event for event in imported}
    changed = [
        event
        for event in _events_of(image, row, boxes=boxes, earlier=latest.get(""))
        if event.reader not in latest or not _same(latest[event.reader], event)
    ]
    if not changed:
        return RowOutcome.UNCHANGED
    with transaction.atomic():
        append(changed)
    return RowOutcome.CHANGED if latest else RowOutcome.LABELLED


def _events_of(
    image: Image, row: CsvRow, *, boxes: Sequence[Box] | None, earlier: LabelEvent | None = None
) -> list[LabelEvent]:
    """The events of a row, not saved: of its label, or of each of its readings. What it has no column for is taken from
    the `earlier` event."""
    if row.readings:
        return [_event_of_reading(image, row, reading) for reading in row.readings]
    if not row.label:
        return []
    findings, attributes, origin = row.findings, row.attributes, row.origin
    if earlier is not None and "finding" not in row.columns:
        findings = tuple(earlier.findings)
    if earlier is not None and "attributes" not in row.columns and row.label == LabelValue.NORMAL:
        attributes = tuple(earlier.attributes)
    if earlier is not None and "label_origin" not in row.columns:
        origin = earlier.origin
    return [
        LabelEvent(
            image=image,
            value=row.label,
            findings=list(findings),
            attributes=list(attributes),
            boxes=[box.to_json() for box in (_boxes_of(earlier) if boxes is None else boxes)],
            source=LabelSource.IMPORT,
            origin=origin,
        )
    ]


def _event_of_reading(image: Image, row: CsvRow, reading: RowReading) -> LabelEvent:
    return LabelEvent(
        image=image,
        value=reading.label,
        findings=list(reading.findings),
        boxes=[box.to_json() for box in reading.boxes],
        source=LabelSource.IMPORT,
        origin=row.origin,
        reader=reading.reader,
    )


def _same(one: LabelEvent, other: LabelEvent) -> bool:
    names = ("value", "findings", "attributes", "boxes", "origin")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _boxes_of(event: LabelEvent | None) -> tuple[Box, ...]:
    return tuple(Box(**box) for box in event.boxes) if event else ()


def has_label_of_readers(image: Image) -> bool:
    """Whether the imported label of the film does not count, because a reader or an adjudicator has labelled it."""
    return CurrentLabel.objects.filter(image=image).exclude(source=LabelSource.IMPORT).exists()


class AmbiguousName(Exception):
    """Several films of the dataset go by the name."""


class FilmNames:
    """The films of a dataset that rows name, as they are at this time."""

    def __init__(self, dataset: Dataset, rows: Sequence[CsvRow]) -> None:
        self._dataset = dataset
        films = list(dataset.images.exclude(original_name="").order_by("pk").values_list("original_name", "pk"))
        self._ids = [image_id for _, image_id in films]
        names = [row.filename for row in rows if not row.image]
        self._matches = dict(zip(names, match_names(names, [name for name, _ in films]), strict=True))
        uuids = [UUID(row.image) for row in rows if row.image]
        self._by_uuid: dict[str, int] = {}
        for start in range(0, len(uuids), _BATCH):
            there = dataset.images.filter(uuid__in=uuids[start : start + _BATCH])
            self._by_uuid |= {str(uuid): image_id for uuid, image_id in there.values_list("uuid", "pk")}

    def film_of(self, row: CsvRow) -> tuple[Image | None, Rule]:
        """Return the film that a row names, and how, as `id_of` does."""
        image_id, rule = self.id_of(row)
        return None if image_id is None else self._dataset.images.get(pk=image_id), rule

    def id_of(self, row: CsvRow) -> tuple[int | None, Rule]:
        """Return the id of the film that a row names, and how: by its UUID if the row has one, otherwise by the name
        that an earlier CSV gave the film, matched like the name of a file. Raises AmbiguousName."""
        if row.image:
            return self._by_uuid.get(row.image), Rule.EXACT
        match = self._matches[row.filename]
        if match.is_ambiguous:
            raise AmbiguousName
        return None if match.index is None else self._ids[match.index], match.rule
