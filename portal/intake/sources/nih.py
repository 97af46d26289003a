"""NIH ChestX-ray14 (Wang et al. 2017): 112,120 frontal films as 8-bit PNG of 1,024 x 1,024. Software mined the labels
from reports; for 984 findings a radiologist drew boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from portal.imaging.handled_elements import ElementOutcome
from portal.imaging.views import view_of_word
from portal.intake.csv_labels import Box, CsvRow
from portal.intake.csv_people import age_of, sex_of
from portal.intake.sources.numbers import number_of
from portal.intake.sources.source import LeftOut, PublishedSource, SourceFilm, SourceOptions, Tables, TableShape
from portal.intake.table_columns import AGE, BOX, FILE, FINDING, HASHED, SEX, VIEW
from portal.models import LabelOrigin

TITLE = "NIH ChestX-ray14"
_SIDES = ("Bbox [x", "y", "w", "h]")
_SPELLED = {"Infiltrate": "Infiltration"}  # in the table of boxes


def _films(tables: Tables, options: SourceOptions) -> Iterator[SourceFilm | LeftOut]:
    boxes = _boxes(tables)
    parts = {name: part for part in ("train", "test") for table in tables[part] for name in table.lines()}
    for table in tables["labels"]:
        for row in table.rows():
            name = row["Image Index"]
            yield _film(row, options, boxes.get(name, ()) if tables["boxes"] else None, parts.get(name, ""))


def _film(
    row: Mapping[str, str], options: SourceOptions, boxes: tuple[Box, ...] | None, part: str
) -> SourceFilm | LeftOut:
    view, age = view_of_word(row.get("View Position", "")) or "", age_of(row.get("Patient Age", ""))
    if left_out := options.left_out(view=view, age_years=age):
        return left_out
    findings = tuple(name.strip() for name in row["Finding Labels"].split("|") if name.strip())
    is_clear = findings == ("No Finding",)
    return SourceFilm(
        CsvRow(
            filename=row["Image Index"],
            label="normal" if is_clear else "abnormal" if findings else "",
            findings=() if is_clear else tuple(name for name in findings if name != "No Finding"),
            patient_id=patient_of(row["Patient ID"]),
            projection=view,
            split=part,
            sex=sex_of(row.get("Patient Gender", "") or row.get("Patient Sex", "")),
            age_years=age,
            origin=LabelOrigin.SOFTWARE if findings else "",
        ),
        boxes,
    )


def patient_of(number: str) -> str:
    """The patient as all sets that stem from this one name them; the table writes 1, the names of its files
    00000001."""
    digits = number.strip().lstrip("0")
    return f"{TITLE} {digits}" if digits else ""


def _boxes(tables: Tables) -> dict[str, tuple[Box, ...]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for table in tables["boxes"]:
        for row in table.rows():
            x, y, width, height = (number_of(row, side, table.name) for side in _SIDES)
            finding = row["Finding Label"]
            boxes[row["Image Index"]].append(Box(x, y, width, height, _SPELLED.get(finding, finding)))
    return {name: tuple(of_film) for name, of_film in boxes.items()}


SOURCE = PublishedSource(
    key="nih",
    title=TITLE,
    shapes={
        "labels": TableShape("Data_Entry_2017_v2020.csv", frozenset({"Image Index", "Finding Labels", "Patient ID"})),
        "boxes": TableShape(
            "BBox_List_2017.csv", frozenset({"Image Index", "Finding Label", *_SIDES}), is_needed=False
        ),
        "train": TableShape("train_val_list.txt", part_of_name=r"^train_val_list.*\.txt$", is_needed=False),
        "test": TableShape("test_list.txt", part_of_name=r"^test_list.*\.txt$", is_needed=False),
    },
    films=_films,
    fates={
        "Image Index": FILE,
        "Finding Labels": (ElementOutcome.KEPT, "label and findings"),
        "Finding Label": FINDING,
        "Patient ID": HASHED,
        "Patient Age": AGE,
        "Patient Gender": SEX,
        "Patient Sex": SEX,
        "View Position": VIEW,
        **dict.fromkeys(_SIDES, BOX),
    },
)
