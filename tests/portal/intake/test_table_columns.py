"""Each column of a table is named with what becomes of it; one that may name a person is named by its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.imaging.handled_elements import ElementOutcome
from portal.intake.csv_labels import read_boxes, read_labels
from portal.intake.further_columns import ColumnKind
from portal.intake.mapping.meaning import TableKind, TableMapping
from portal.intake.sources.registry import SOURCES
from portal.intake.table_columns import MAY_IDENTIFY, NOT_DECLARED, NOT_NEEDED, TableFate, fates_of_published


def outcomes(fates: list[TableFate]) -> dict[str, ElementOutcome]:
    return {column.column: column.outcome for fate in fates for column in fate.columns}


def test_columns_of_labels_and_boxes(tmp_path: Path) -> None:
    labels, boxes = tmp_path / "labels.csv", tmp_path / "boxes.csv"
    labels.write_text("filename,label,Patient ID,age,Quagga,surname\na.png,normal,7,47,x,Doe\n")
    boxes.write_text("filename,x,y,width,height\na.png,1,1,2,2\n")
    fates: list[TableFate] = []
    read_labels(labels, fates=fates)
    read_boxes(boxes, fates=fates)
    assert [fate.table for fate in fates] == ["labels.csv", "boxes.csv"]
    assert outcomes(fates) == {
        "filename": ElementOutcome.KEPT,
        "label": ElementOutcome.KEPT,
        "Patient ID": ElementOutcome.REPLACED,
        "age": ElementOutcome.CLEANED,
        "column 5": ElementOutcome.REMOVED,
        "surname": ElementOutcome.REMOVED,
        **dict.fromkeys(("x", "y", "width", "height"), ElementOutcome.KEPT),
    }
    why = {column.column: column.how for column in fates[0].columns}
    assert (why["column 5"], why["surname"]) == (NOT_DECLARED, MAY_IDENTIFY)


def test_a_declared_column_is_cleaned(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,label,bmi\na.png,normal,21.5\n")
    mapping = TableMapping(
        kind=TableKind.LABELS,
        columns={"filename": "file", "label": "label"},
        keep={"bmi": ColumnKind.NUMBER},
        labels={"normal": "normal"},
    )
    fates: list[TableFate] = []
    read_labels(table, mapping=mapping, fates=fates)
    assert outcomes(fates) == {"file": ElementOutcome.KEPT, "label": ElementOutcome.KEPT, "bmi": ElementOutcome.CLEANED}


def test_columns_of_a_published_table() -> None:
    fates = fates_of_published(["PatientID", "Report", "Quagga"], SOURCES["padchest"].fates)
    assert [(one.column, one.outcome) for one in fates] == [
        ("PatientID", ElementOutcome.REPLACED),
        ("Report", ElementOutcome.REMOVED),
        ("column 3", ElementOutcome.REMOVED),
    ]
    assert fates[1].how == NOT_NEEDED


@pytest.mark.parametrize("key", SOURCES)
def test_every_column_by_which_a_table_is_recognised_has_a_fate(key: str) -> None:
    source = SOURCES[key]
    needed = {column for shape in source.shapes.values() for column in shape.columns}
    assert needed <= set(source.fates) | {"subject_id"}
