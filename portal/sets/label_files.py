"""Labels, findings and boxes as files: CSV that an import takes back as it is, JSON with the history, boxes as COCO."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from portal.labels.formula_cells import neutralised
from portal.models import LabelEvent
from portal.sets.label_export import ExportedFilm, value_of_film

NOTICE = "Research use only. Not a medical device."
_LABELS = (
    *("filename", "image", "label", "finding", "attributes", "patient_id", "projection", "split", "sex", "age"),
    *("label_origin", "reader_code", "label_source"),
)
_BOXES = ("filename", "image", "x", "y", "width", "height", "finding", "reader_code")
# Without the column image: a zip with all these tables has one table of labels.
_HISTORY = (
    *("film", "event", "at", "source", "author", "label", "findings", "attributes", "boxes", "origin", "reader_code"),
    *("reason", "criteria", "undoes", "queue"),
)


def labels_csv(films: Iterable[ExportedFilm]) -> Iterator[str]:
    """A line for each film; for each reader of a published dataset, where several read it. A film without a label, or
    whose readers at this site differ, has an empty label."""
    yield from csv_lines(_LABELS, (row for film in films for row in _label_rows(film)))


def _label_rows(film: ExportedFilm) -> Iterator[Sequence[Any]]:
    image = film.image
    facts = [film.patient, image.view_position, film.split, image.patient.sex, image.header.get("age_years", "")]
    for label in film.labels:
        yield [
            *(film.name, image.uuid, label.value, "|".join(label.findings), "|".join(label.attributes), *facts),
            *(label.origin, label.reader, label.source),
        ]
    if not film.labels:
        yield [film.name, image.uuid, "", "", "", *facts, "", "", value_of_film(film)]


def boxes_csv(films: Iterable[ExportedFilm]) -> Iterator[str]:
    """A line for each box of the labels that count, in original pixels."""
    yield from csv_lines(_BOXES, (row for film in films for row in _box_rows(film)))


def _box_rows(film: ExportedFilm) -> Iterator[Sequence[Any]]:
    for label in film.labels:
        for box in label.boxes:
            sides = [repr(float(box[side])) for side in ("x", "y", "width", "height")]
            yield [film.name, film.image.uuid, *sides, box.get("finding") or "", label.reader]


def history_csv(films: Iterable[ExportedFilm]) -> Iterator[str]:
    """A line for each label event, oldest first within a film."""
    rows = (list(_event(film, event).values()) for film in films for event in film.history)
    yield from csv_lines(_HISTORY, (map(_text, row) for row in rows))


def _event(film: ExportedFilm, event: LabelEvent) -> dict[str, Any]:
    values = [
        *(str(film.image.uuid), str(event.uuid), event.created_at.isoformat(), event.source),
        *(event.author.username if event.author else "", event.value, event.findings, event.attributes, event.boxes),
        *(event.origin, event.reader, event.reason, str(event.criteria) if event.criteria else ""),
        *(str(event.reverts.uuid) if event.reverts else "", event.queue_id is not None),
    ]
    return dict(zip(_HISTORY, values, strict=True))


def labels_json(films: Iterable[ExportedFilm]) -> Iterator[str]:
    """All of it: a film at a time, with the labels that count and all events."""
    yield f'{{"notice": {json.dumps(NOTICE)}, "films": ['
    before = ""
    for film in films:
        yield f"{before}\n{json.dumps(_film(film), ensure_ascii=False)}"
        before = ","
    yield "\n]}\n"


def _film(film: ExportedFilm) -> dict[str, Any]:
    image = film.image
    return {
        "filename": film.name,
        "image": str(image.uuid),
        "width": image.columns,
        "height": image.rows,
        "patient_id": film.patient,
        "projection": image.view_position,
        "split": film.split,
        "label": value_of_film(film),
        "labels": [
            {
                "label": label.value,
                "findings": list(label.findings),
                "attributes": list(label.attributes),
                "boxes": list(label.boxes),
                "label_origin": label.origin,
                "reader_code": label.reader,
                "label_source": label.source,
            }
            for label in film.labels
        ],
        "history": [
            {name: value for name, value in _event(film, event).items() if name != "film"} for event in film.history
        ],
    }


def coco_json(films: Iterable[ExportedFilm]) -> Iterator[str]:
    """Films and boxes as COCO has them: `images`, `annotations` with `bbox` as x, y, width, height, and `categories`,
    which are the findings. A box without a finding is of the category `abnormality`."""
    categories: dict[str, int] = {}
    images: list[Mapping[str, Any]] = []
    annotations: list[Mapping[str, Any]] = []
    for number, film in enumerate(films, start=1):
        size = {"width": film.image.columns, "height": film.image.rows}
        images.append({"id": number, "file_name": film.name, **size, "uuid": str(film.image.uuid)})
        for label in film.labels:
            for box in label.boxes:
                finding = box.get("finding") or "abnormality"
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": categories.setdefault(finding, len(categories) + 1),
                        "bbox": [box["x"], box["y"], box["width"], box["height"]],
                        "area": box["width"] * box["height"],
                        "iscrowd": 0,
                        **({"reader_code": label.reader} if label.reader else {}),
                    }
                )
    yield json.dumps(
        {
            "info": {"description": NOTICE},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        },
        ensure_ascii=False,
    )


def _text(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def csv_lines(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """A CSV, some 64 kB at a time, without cells that a spreadsheet would take for formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([neutralised(value) if isinstance(value, str) else value for value in row])
        if text.tell() > 2**16:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


FILES: Mapping[str, Callable[[Iterable[ExportedFilm]], Iterator[str]]] = {
    "labels.csv": labels_csv,
    "boxes.csv": boxes_csv,
    "history.csv": history_csv,
    "labels.json": labels_json,
    "boxes.coco.json": coco_json,
}
KINDS = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}
