"""Imported labels: of a film that an import brings, and of a film that is there and that a CSV names."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from django.db import transaction

from portal.intake.csv_labels import Box, CsvRow
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


def append_label(image: Image, row: CsvRow | None, *, boxes: Sequence[Box]) -> None:
    if row is None or not row.label:
        return
    event = LabelEvent(
        image=image,
        value=row.label,
        findings=list(row.findings),
        attributes=list(row.attributes),
        boxes=[box.to_json() for box in boxes],
        source=LabelSource.IMPORT,
    )
    append([event])


def append_change(image: Image, row: CsvRow, boxes: Sequence[Box] | None) -> RowOutcome:
    """Append the label of a row, which replaces the earlier imported label, if it differs from that. Findings,
    attributes and boxes for which the CSV files have no column stay unchanged."""
    if not row.label:
        return RowOutcome.NO_LABEL
    latest = image.label_events.filter(source=LabelSource.IMPORT).order_by("created_at", "pk").last()
    boxes = _boxes_of(latest) if boxes is None else boxes
    findings = row.findings
    if latest is not None and "finding" not in row.columns:
        findings = tuple(latest.findings)
    attributes = row.attributes
    if latest is not None and "attributes" not in row.columns and row.label == LabelValue.NORMAL:
        attributes = tuple(latest.attributes)
    event = LabelEvent(
        image=image,
        value=row.label,
        findings=list(findings),
        attributes=list(attributes),
        boxes=[box.to_json() for box in boxes],
        source=LabelSource.IMPORT,
    )
    if latest is not None and all(
        getattr(latest, name) == getattr(event, name) for name in ("value", "findings", "attributes", "boxes")
    ):
        return RowOutcome.UNCHANGED
    with transaction.atomic():
        append([event])
    return RowOutcome.CHANGED if latest is not None else RowOutcome.LABELLED


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
