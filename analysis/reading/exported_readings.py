"""The readings of films with their history: those of worklists and reader studies, and those of double readings that
are closed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.figures import NOTICE
from analysis.models import Reading, Worklist
from analysis.reading.worklist_summary import require_summary
from portal.labels.formula_cells import neutralised
from portal.models import QueueReading, User
from portal.people.access import require
from portal.sets.label_export import FilmSet, films_of

_CHUNK = 500
COLUMNS = (
    *("film", "reading", "at", "reader", "of", "verdict", "confidence", "findings", "attributes", "boxes", "comment"),
    *("stage", "model_shown", "label_shown", "replaces", "undoes"),
)


def require_readings(person: User, films: FilmSet) -> None:
    """Raises PermissionDenied where the person may not see what others read, or still reads one of the worklists."""
    require(person, "make worklists", films.site)
    readings = Reading.objects.filter(image__in=films_of(films).values("pk"), item__isnull=False)
    worklists = readings.order_by().values("item__worklist").distinct()
    for worklist in Worklist.objects.filter(pk__in=worklists).select_related("run__site"):
        require_summary(person, worklist)


def exported_readings(films: FilmSet) -> Iterator[Mapping[str, Any]]:
    """By film, oldest first; a reading that was replaced or undone is there too."""
    ids = list(films_of(films).values_list("pk", flat=True))
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        rows = [*map(_of_worklist, _worklist_readings(chunk)), *map(_of_queue, _queue_readings(chunk))]
        for _, row in sorted(rows, key=lambda pair: (pair[0], pair[1]["at"])):
            yield row


def _worklist_readings(ids: Sequence[int]) -> list[Reading]:
    readings = Reading.objects.filter(image_id__in=ids).select_related("image", "reader", "replaces", "item__worklist")
    return list(readings.order_by("created_at", "pk"))


def _queue_readings(ids: Sequence[int]) -> list[QueueReading]:
    """Of closed double readings: until then nobody sees what the others said."""
    closed = QueueReading.objects.filter(image_id__in=ids, queue__double_reading__closed_at__isnull=False)
    return list(closed.select_related("image", "reader", "queue", "reverts").order_by("created_at", "pk"))


def _of_worklist(reading: Reading) -> tuple[int, dict[str, Any]]:
    where = f"worklist {reading.item.worklist}" if reading.item else "film"
    return reading.image_id, dict(
        zip(
            COLUMNS,
            (
                *(str(reading.image.uuid), str(reading.uuid), reading.created_at.isoformat(), reading.reader.username),
                *(where, reading.verdict, reading.confidence, reading.findings, [], reading.boxes, reading.comment),
                *(reading.stage, reading.model_shown, reading.label_shown),
                *(str(reading.replaces.uuid) if reading.replaces else "", ""),
            ),
            strict=True,
        )
    )


def _of_queue(reading: QueueReading) -> tuple[int, dict[str, Any]]:
    return reading.image_id, dict(
        zip(
            COLUMNS,
            (
                *(str(reading.image.uuid), str(reading.uuid), reading.created_at.isoformat(), reading.reader.username),
                *(f"double reading {reading.queue}", reading.value, None, reading.findings, reading.attributes),
                *(reading.boxes, reading.comment, "", reading.model_shown, reading.label_shown, ""),
                str(reading.reverts.uuid) if reading.reverts else "",
            ),
            strict=True,
        )
    )


def readings_csv(films: FilmSet) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for reading in exported_readings(films):
        writer.writerow([_cell(value) for value in reading.values()])
    yield text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return neutralised(value) if isinstance(value, str) else value


def readings_json(films: FilmSet) -> Iterator[str]:
    readings = list(exported_readings(films))
    yield json.dumps({"notice": NOTICE, "readings": readings}, ensure_ascii=False)
