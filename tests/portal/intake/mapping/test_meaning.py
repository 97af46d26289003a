"""A mapping says what columns and values mean; one that leaves something open is refused with the column and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.intake.csv_labels import Box, read_boxes, read_labels
from portal.intake.mapping.facts import read_facts
from portal.intake.mapping.meaning import InvalidMapping, TableKind, TableMapping, check_mapping, mapping_of_json
from portal.intake.tables import UnclearTable

TABLE = (
    "Pfad;Diagnose;Fallnummer;Alter;MRN\n"
    "p1/a.png;o.B.;00012;50;1\n"
    "p1/b.png;Pneumonie|Erguss;00012;51;1\n"
    "p2/c.png;o.b.;13;;2\n"
    "p3/d.png;;14;;\n"
)
COLUMNS = {"filename": "Pfad", "label": "Diagnose", "finding": "Diagnose", "patient_id": "Fallnummer", "age": "Alter"}
LABELS = {"O.B.": "normal", "Pneumonie|Erguss": "abnormal"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


def mapping(**changes: Any) -> TableMapping:
    return mapping_of_json({"columns": COLUMNS, "labels": LABELS, **changes}, "t.csv")


def test_rows_by_a_mapping(path: Path) -> None:
    check_mapping(mapping(), read_facts(path))
    skipped: list[str] = []
    rows = read_labels(path, skipped, mapping=mapping())
    assert [(row.filename, row.label, row.findings, row.patient_id) for row in rows.values()] == [
        ("p1/a.png", "normal", (), "00012"),
        ("p1/b.png", "abnormal", ("Pneumonie", "Erguss"), "00012"),
        ("p2/c.png", "normal", (), "13"),
        ("p3/d.png", "", (), "14"),
    ]
    assert skipped == []
    assert (rows["p1/a.png"].age_years, rows["p1/a.png"].extra) == ("50", {})
    assert rows["p1/a.png"].left_out == ("MRN",)
    assert rows["p1/a.png"].columns == {"filename", "label", "finding", "patient_id"}


def test_an_age_without_a_field_is_not_read(path: Path) -> None:
    row = read_labels(path, mapping=mapping(columns=without("age")))["p1/b.png"]
    assert (row.age_years, row.extra, row.left_out) == ("", {}, ("Alter", "MRN"))


def declared(column: str, kept: str) -> TableMapping:
    return mapping_of_json({"columns": {"filename": "Pfad"}, "keep": {column: kept}}, "t.csv")


@pytest.mark.parametrize(
    ("column", "kept", "values", "sentence"),
    [
        ("BMI", "number", ["24.5", "NA"] * 10, ""),
        ("smoking", "category", ["never"] * 10 + ["pipe"], ""),
        ("BMI", "number", ["thin", "24"] + ["thick"] * 8, "holds a number in fewer than half of its rows"),
        (
            "key",
            "number",
            [str(10_000 + n) for n in range(30)],
            "another whole number in nearly every row, as a record",
        ),
        ("scan", "number", ["20240131", "20240201"], "holds dates or times, which are never kept"),
        ("scan", "category", ["31 Jan 2024"] * 20, "holds dates or times, which are never kept"),
        ("scan", "category", ["10:15"] * 20, "holds dates or times, which are never kept"),
        ("device", "category", ["a"] * 9, "has no value in 10 or more rows, so that all of them would be kept as"),
        ("device", "category", [f"d{n % 21}" for n in range(210)], "has 21 frequent values; a category has at most 20"),
        (
            "device",
            "category",
            ["a long sentence of a clinician, about somebody"] * 10,
            "holds free text",
        ),
        ("UHID", "category", ["a"] * 10, "may identify a person, by its name, and cannot be kept"),
        ("doctor", "category", ["a"] * 10, "may identify a person, by its name, and cannot be kept"),
        ("StudyTime", "number", ["1"] * 10, "may identify a person, by its name, and cannot be kept"),
    ],
)
def test_what_may_be_declared(path: Path, column: str, kept: str, values: list[str], sentence: str) -> None:
    path.write_text(f"Pfad;{column}\n" + "".join(f"{n}.png;{value}\n" for n, value in enumerate(values)))
    of_column = declared(column, kept)
    if not sentence:
        check_mapping(of_column, read_facts(path))
        return
    with pytest.raises(InvalidMapping, match=sentence):
        check_mapping(of_column, read_facts(path))


def test_a_column_of_patients_is_never_kept(path: Path) -> None:
    path.write_text("Pfad,PatientID,label\na.png,Zzyzxson,x\n")
    rows = read_labels(path, mapping=mapping_of_json({"columns": {"filename": "Pfad"}}, "t.csv"))
    assert rows["a.png"].extra == {}
    with pytest.raises(InvalidMapping, match=r"column 'PatientID' of t\.csv may identify a person"):
        check_mapping(
            mapping_of_json({"columns": {"filename": "Pfad"}, "keep": {"PatientID": "category"}}, "t"), read_facts(path)
        )


def test_a_value_that_is_no_label_and_every_other_value(path: Path) -> None:
    rows = read_labels(path, mapping=mapping(labels={"o.B.": ""}, other_values="abnormal"))
    assert [row.label for row in rows.values()] == ["", "abnormal", "", ""]


def test_a_value_without_a_meaning_stops_the_table_and_is_not_quoted(path: Path) -> None:
    with pytest.raises(UnclearTable, match="values in its column of labels that its mapping does not know") as unclear:
        read_labels(path, mapping=mapping(labels={"o.B.": "normal"}))
    assert "Erguss" not in str(unclear.value)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UnclearTable, match="has not the columns of its mapping"):
        read_labels(path, mapping=mapping())


@pytest.mark.parametrize("finding", ["Erguss|Infiltrat", "Erguss;Infiltrat", "['Erguss', 'Infiltrat']"])
def test_findings_are_split_by_a_mapping_too(path: Path, finding: str) -> None:
    path.write_text(f'Datei,Befund,dx\na.png,"{finding}",1\n')
    columns = {"filename": "Datei", "finding": "Befund", "label": "dx"}
    by_mapping = mapping_of_json({"columns": columns, "labels": {"1": "abnormal"}}, "t.csv")
    assert read_labels(path, mapping=by_mapping)["a.png"].findings == ("Erguss", "Infiltrat")


def test_boxes_by_a_mapping(path: Path) -> None:
    path.write_text("Bild,links,oben,rechts,unten,Art\na.png,1,2,4,6,Knoten\n")
    columns = {
        "filename": "Bild",
        "x_min": "links",
        "y_min": "oben",
        "x_max": "rechts",
        "y_max": "unten",
        "finding": "Art",
    }
    of_boxes = mapping_of_json({"kind": "boxes", "columns": columns}, "t.csv")
    check_mapping(of_boxes, read_facts(path))
    assert read_boxes(path, mapping=of_boxes) == {"a.png": (Box(1, 2, 3, 4, "Knoten"),)}


def without(field: str) -> dict[str, str]:
    return {name: column for name, column in COLUMNS.items() if name != field}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"columns": without("filename")}, r"No column of t\.csv holds the file names; choose"),
        ({"columns": {**COLUMNS, "filename": "Path"}}, r"t\.csv has no column 'Path', which is chosen for 'filename'"),
        ({"columns": {**COLUMNS, "name": "Pfad"}}, r"t\.csv has the field 'name'; the fields of a table of labels are"),
        (
            {"columns": {**COLUMNS, "patient_id": "Pfad"}},
            "column 'Pfad' of t.csv is chosen for 'filename' and 'patient_id'; choose another",
        ),
        ({"labels": {"o.b.": "normal"}}, r"value 'Pneumonie\|Erguss' of the column 'Diagnose' has no meaning yet"),
        ({"labels": {**LABELS, "x": "tb"}}, "The value 'x' of the column 'Diagnose' is to mean 'tb'; choose normal"),
        ({"other_values": "tb"}, "Every other value of the column 'Diagnose' is to mean 'tb'"),
        ({"columns": without("label")}, "gives meanings to values, and no column is chosen for 'label'"),
        ({"keep": {"Größe": "number"}}, r"t\.csv has no column 'Größe', which is to be kept"),
        ({"keep": {"Diagnose": "category"}}, "The column 'Diagnose' of t.csv is used as a field already"),
        ({"keep": {"MRN": "number"}}, "column 'MRN' of t.csv may identify a person, by its name, and cannot be kept"),
        ({"kind": "boxes", "columns": {"filename": "Pfad"}, "labels": {}}, r"No column of t\.csv is chosen for 'x'"),
        ({"kind": "films"}, "has the kind 'films'; write labels, boxes or aside"),
        ({"column": {}}, "has the key 'column'; its keys are"),
        ({"columns": ["a"]}, "'columns' is not an object of texts"),
        ({"labels": {"1": 1}}, "'labels' is not an object of texts"),
        ({"keep": "all"}, "'keep' does not say of each column whether it is a number or a category"),
        ({"keep": ["BMI"]}, "'keep' does not say of each column whether it is a number or a category"),
        ({"keep": {"BMI": "text"}}, "'keep' does not say of each column whether it is a number or a category"),
        ({"other_values": 1}, "'other_values' is not a text"),
    ],
)
def test_what_is_wrong_is_said_with_column_and_value(path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidMapping, match=sentence):
        check_mapping(mapping(**changes), read_facts(path))


def test_a_mapping_that_is_no_object() -> None:
    with pytest.raises(InvalidMapping, match=r"mapping of t\.csv is not a JSON object"):
        mapping_of_json([], "t.csv")


def test_too_many_values_need_a_meaning_of_the_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.intake.mapping.facts.MOST_VALUES", 1)
    known = mapping(labels={"o.b.": "normal"})
    with pytest.raises(InvalidMapping, match="more than 1 different values; choose what every other value means"):
        check_mapping(known, read_facts(path))
    check_mapping(mapping(labels={"o.b.": "normal"}, other_values=""), read_facts(path))


def test_a_table_left_aside_needs_nothing(path: Path) -> None:
    check_mapping(TableMapping(TableKind.ASIDE), read_facts(path))


def test_json_and_back() -> None:
    one = mapping(keep={"BMI": "number"}, other_values="unsure")
    assert mapping_of_json(one.to_json(), "t.csv") == one
