"""Names of tables and columns are repeated only where they consist of usual words."""

from __future__ import annotations

import pytest

from portal.intake.stored_words import column_words, table_words


@pytest.mark.parametrize(
    "header",
    [
        "Patient Name",
        "MR No",
        "UHID",
        "StudyTime",
        "OriginalImage[Width,Height]",
        "PatientBirthDate",
        "Follow-up #",
        "x",
    ],
)
def test_usual_names_of_columns_are_repeated(header: str) -> None:
    assert column_words(header, 3) == header


@pytest.mark.parametrize("header", ["Zzyzxson Anna", "1947-12-13", "99118822", "patient zzyzxson", "", "김철수"])
def test_others_are_named_by_their_place(header: str) -> None:
    assert column_words(header, 3) == "column 3"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("labels.csv", "labels.csv"),
        ("a/Data_Entry_2017.csv", "Data_Entry_2017.csv"),
        ("Zzyzxson labels.xlsx", "table.xlsx"),
        ("19471213.csv", "table.csv"),
    ],
)
def test_names_of_tables(name: str, words: str) -> None:
    assert table_words(name) == words
    assert table_words("Zzyzxson.csv", 2) == "table-2.csv"
