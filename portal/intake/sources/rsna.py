"""RSNA Pneumonia Detection Challenge 2018: 26,684 frontal films of the NIH as DICOM, read by radiologists. *Not normal*
without an opacity is abnormal. The `patientId` of the tables is that of a film: patients are those of the NIH, which
RSNA's list of mappings gives."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from portal.imaging.handled_elements import ElementOutcome
from portal.intake.csv_labels import Box, CsvRow
from portal.intake.sources.nih import patient_of
from portal.intake.sources.numbers import number_of
from portal.intake.sources.source import LeftOut, PublishedSource, SourceFilm, SourceOptions, Tables, TableShape
from portal.intake.table_columns import BOX, FILE, LABEL
from portal.intake.tables import InvalidCsv
from portal.models import LabelOrigin

_OPACITY = "Lung Opacity"
_LABELS = {
    "Normal": ("normal", ()),
    "No Lung Opacity / Not Normal": ("abnormal", ()),
    _OPACITY: ("abnormal", (_OPACITY,)),
}
_SIDES = ("x", "y", "width", "height")


def _films(tables: Tables, options: SourceOptions) -> Iterator[SourceFilm | LeftOut]:
    boxes, patients = _boxes(tables), _patients(tables)
    seen: set[str] = set()  # the table has a row for each box
    for table in tables["classes"]:
        for row in table.rows():
            film = row["patientId"]
            if film in seen:
                continue
            seen.add(film)
            label, findings = _LABELS.get(row["class"], ("", ()))
            yield SourceFilm(
                CsvRow(
                    filename=f"{film}.dcm",
                    label=label,
                    findings=findings,
                    patient_id=patients.get(film, ""),
                    origin=LabelOrigin.READER if label else "",
                ),
                boxes.get(film, ()) if tables["boxes"] else None,
            )


def _boxes(tables: Tables) -> dict[str, tuple[Box, ...]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for table in tables["boxes"]:
        for row in table.rows():
            if row["Target"] == "1":
                x, y, width, height = (number_of(row, side, table.name) for side in _SIDES)
                boxes[row["patientId"]].append(Box(x, y, width, height, _OPACITY))
    return {film: tuple(of_film) for film, of_film in boxes.items()}


def _patients(tables: Tables) -> dict[str, str]:
    patients = {}
    for table in tables["patients"]:
        try:
            for film in json.loads(table.read()):
                patients[film["subset_img_id"]] = patient_of(film["img_id"].partition("_")[0])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidCsv(
                f"{table.name} is not the list of mappings as RSNA published it; download it again, or leave it out."
            ) from error
    return patients


SOURCE = PublishedSource(
    key="rsna",
    title="RSNA Pneumonia Detection Challenge",
    shapes={
        "classes": TableShape("stage_2_detailed_class_info.csv", frozenset({"patientId", "class"})),
        "boxes": TableShape("stage_2_train_labels.csv", frozenset({"patientId", "Target", *_SIDES}), is_needed=False),
        "patients": TableShape(
            "pneumonia-challenge-dataset-mappings_2018.json", part_of_name=r"mappings.*\.json$", is_needed=False
        ),
    },
    films=_films,
    fates={
        "patientId": FILE,
        "class": LABEL,
        "Target": (ElementOutcome.REMOVED, "says whether a row has a box, and is not kept"),
        **dict.fromkeys(_SIDES, BOX),
    },
)
