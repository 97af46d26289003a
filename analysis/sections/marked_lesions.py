"""The boxes on films, from labels or readings at a cut-off, in original pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from analysis.models import Reading, Verdict
from analysis.statistics.fused_boxes import Box, fused
from portal.labels.events import CHUNK
from portal.labels.resolving import resolve
from portal.models import Image, LabelEvent, LabelSource, LabelValue

RANKS = (LabelSource.ADJUDICATION, LabelSource.CONSENSUS, LabelSource.READER, LabelSource.IMPORT)


@dataclass(frozen=True)
class MarkedFilm:
    """The boxes of one film, (x, y, width, height, finding) in original pixels, and who drew them: the source of a
    label event, or "reading"."""

    boxes: tuple[Box, ...]
    source: str


def marked_films(images: Sequence[str], *, cutoff: datetime) -> dict[str, MarkedFilm]:
    """Film -> its boxes, for the films that have any. `images` are films with the label abnormal.

    If several people drew boxes, only the latest event of the highest source (adjudication, consensus, reader, import)
    counts, so that no lesion counts twice. The readers of a published dataset count together: their boxes are fused
    (`fused_boxes`). If no label has boxes, the latest reading by a person who had been shown
    neither the model nor the label counts.
    """
    marked_by_film: dict[str, MarkedFilm] = {}
    for start in range(0, len(images), CHUNK):
        chunk = dict(Image.objects.filter(uuid__in=images[start : start + CHUNK]).values_list("pk", "uuid"))
        of_labels = _by_labels(chunk, cutoff)
        of_readings = _by_readings(chunk.keys() - of_labels.keys(), cutoff)
        marked_by_film |= {str(chunk[image]): marked for image, marked in (of_readings | of_labels).items()}
    return marked_by_film


def _by_labels(ids: Iterable[int], cutoff: datetime) -> dict[int, MarkedFilm]:
    events = LabelEvent.objects.filter(image_id__in=list(ids), created_at__lte=cutoff)
    drawn_on = set(events.exclude(boxes=[]).values_list("image_id", flat=True))
    of_film: dict[int, list[LabelEvent]] = defaultdict(list)
    for event in events.filter(image_id__in=drawn_on).order_by("created_at", "pk"):
        of_film[event.image_id].append(event)
    marked = {}
    for image, all_events in of_film.items():
        drawn = _events_with_boxes(all_events)
        if drawn:
            boxes = fused([_plain(event.boxes) for event in drawn]) if len(drawn) > 1 else _plain(drawn[0].boxes)
            marked[image] = MarkedFilm(boxes, str(drawn[0].source))
    return marked


def _events_with_boxes(events: Sequence[LabelEvent]) -> list[LabelEvent]:
    """The latest of the highest source, among current events with the value abnormal; of the readers of a published
    dataset, that of each. An author's later event replaces their earlier event, and an import without readers those
    before it."""
    label = resolve(events)
    if label is None or label.value != LabelValue.ABNORMAL:
        return []
    reverted = {event.reverts_id for event in events if event.reverts_id}
    by_author = {
        (event.source, event.author_id, event.reader): event
        for event in events
        if event.value and event.pk not in reverted
    }
    drawn = [event for event in by_author.values() if event.value == LabelValue.ABNORMAL and event.boxes]
    for source in RANKS:
        of_source = sorted(
            (event for event in drawn if event.source == source), key=lambda event: (event.created_at, event.pk)
        )
        if of_source and of_source[-1].reader:
            return list(takewhile(lambda event: bool(event.reader), reversed(of_source)))[::-1]
        if of_source:
            return of_source[-1:]
    return []


def _by_readings(ids: Iterable[int], cutoff: datetime) -> dict[int, MarkedFilm]:
    readings = Reading.objects.filter(
        image_id__in=list(ids), created_at__lte=cutoff, verdict=Verdict.ABNORMAL, model_shown=False, label_shown=False
    )
    current = readings.exclude(replaced_by__created_at__lte=cutoff).exclude(boxes=[])
    return {
        reading.image_id: MarkedFilm(_plain(reading.boxes), "reading") for reading in current.order_by("created_at")
    }


def _plain(boxes: Sequence[dict[str, Any]]) -> tuple[Box, ...]:
    return tuple(
        (float(box["x"]), float(box["y"]), float(box["width"]), float(box["height"]), str(box.get("finding") or ""))
        for box in boxes
    )
