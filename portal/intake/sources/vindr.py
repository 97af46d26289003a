"""VinDr-CXR (Nguyen et al. 2020): 18,000 PA films of two hospitals as DICOM. Three radiologists read each film of
train, each by themselves: their readings are kept beside each other, and a film on whose normality they differ is
unresolved. The labels of test are the consensus of five."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from portal.intake.csv_labels import Box, CsvRow, RowReading
from portal.intake.sources.numbers import number_of
from portal.intake.sources.source import LeftOut, PublishedSource, SourceFilm, SourceOptions, Tables, TableShape, Views
from portal.intake.table_columns import BOX, FILE, FINDING, READER
from portal.intake.tables import InvalidCsv
from portal.models import LabelOrigin

_NO_FINDING = "No finding"
_FINDINGS = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis"),
    *("Other diseases", "Other disease"),
)
_SIDES = ("x_min", "y_min", "x_max", "y_max")
_Boxes = Mapping[tuple[str, str], tuple[Box, ...]]  # by film and reader


def _films(tables: Tables, options: SourceOptions) -> Iterator[SourceFilm | LeftOut]:
    if not tables["readings"] and not tables["consensus"]:
        raise InvalidCsv(
            "VinDr-CXR is imported with its table image_labels_train.csv, image_labels_test.csv or both; no table of "
            "this import is that. Put them beside the films."
        )
    boxes = _boxes(tables)
    readings: dict[str, list[RowReading]] = defaultdict(list)
    for table in tables["readings"]:
        for row in table.rows():
            film, reader = row["image_id"], row["rad_id"]
            label, findings = _label_of(row)
            if label:
                readings[film].append(RowReading(reader, label, findings, boxes.get((film, reader), ())))
    for film, of_film in readings.items():
        labels = {reading.label for reading in of_film}
        label = labels.pop() if len(labels) == 1 else ""
        name = f"{film}.dicom"
        row_of_film = CsvRow(
            filename=name, label=label, split="train", readings=tuple(of_film), origin=LabelOrigin.READER
        )
        yield SourceFilm(row_of_film)
    for table in tables["consensus"]:
        for row in table.rows():
            label, findings = _label_of(row)
            yield SourceFilm(
                CsvRow(
                    filename=f"{row['image_id']}.dicom",
                    label=label,
                    findings=findings,
                    split="test",
                    origin=LabelOrigin.READER if label else "",
                ),
                boxes.get((row["image_id"], ""), ()) if tables["consensus boxes"] else None,
            )


def _label_of(row: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    marked = [name for name, value in row.items() if name not in ("image_id", "rad_id") and value in ("1", "1.0")]
    findings = tuple(name for name in marked if name != _NO_FINDING)
    return ("abnormal" if findings else "normal" if marked else ""), findings


def _boxes(tables: Tables) -> _Boxes:
    """Without the rows that say that there is none."""
    boxes: dict[tuple[str, str], list[Box]] = defaultdict(list)
    for table in (*tables["boxes"], *tables["consensus boxes"]):
        for row in table.rows():
            if row["class_name"] == _NO_FINDING or not any(row.get(side) for side in _SIDES):
                continue
            left, top, right, bottom = (number_of(row, side, table.name) for side in _SIDES)
            if right > left and bottom > top:
                box = Box(left, top, right - left, bottom - top, row["class_name"])
                boxes[row["image_id"], row.get("rad_id", "")].append(box)
    return {key: tuple(of_film) for key, of_film in boxes.items()}


_LABELS = frozenset({"image_id", _NO_FINDING})
_MARKED = frozenset({"image_id", "class_name", *_SIDES})
_READER = frozenset({"rad_id"})
SOURCE = PublishedSource(
    key="vindr",
    title="VinDr-CXR",
    shapes={
        "readings": TableShape("image_labels_train.csv", _LABELS | _READER, is_needed=False),
        "consensus": TableShape("image_labels_test.csv", _LABELS, lacks=_READER, is_needed=False),
        "boxes": TableShape("annotations_train.csv", _MARKED | _READER, is_needed=False),
        "consensus boxes": TableShape("annotations_test.csv", _MARKED, lacks=_READER, is_needed=False),
    },
    films=_films,
    fates={
        "image_id": FILE,
        "rad_id": READER,
        "class_name": FINDING,
        **dict.fromkeys(_SIDES, BOX),
        **dict.fromkeys((_NO_FINDING, *_FINDINGS), FINDING),
    },
    views=Views.ALL,
)
