"""One patient in two spellings is one patient; of two patients, what counts is chosen."""

from __future__ import annotations

import pytest

from portal.intake.patient_identifiers import (
    PatientDifference,
    PatientSource,
    patient_identifier,
    spellings_of_number,
)

NONE, SPELLING, PATIENT = PatientDifference


@pytest.mark.parametrize(
    ("table", "header", "spellings", "difference"),
    [
        ("", "", (), NONE),
        ("NA", "-", (), NONE),
        ("", "00012", ("00012",), NONE),
        ("NaN", "00012", ("00012",), NONE),
        ("12", "", ("12",), NONE),
        ("12.0", "", ("12", "12.0"), NONE),
        ("P-7", "P-7", ("P-7",), NONE),
        ("p-7", "P-7 ", ("P-7", "p-7"), NONE),  # pseudonyms ignore case
        ("P 7", "P\u00a07", ("P 7", "P\u00a07"), NONE),
        ("", "12.0", ("12", "12.0"), NONE),
        ("12", "00012", ("00012", "12"), SPELLING),
        ("12.0", "00012", ("00012", "12", "12.0"), SPELLING),
        ("12.0", "12", ("12", "12.0"), NONE),
        ("0", "000", ("000", "0"), SPELLING),
        ("P12", "P012", ("P12",), PATIENT),
        ("12", "120", ("12",), PATIENT),
        ("12.5", "12", ("12.5",), PATIENT),
        ("\u0661\u0662", "12", ("\u0661\u0662",), PATIENT),
    ],
)
def test_the_table_counts_unless_it_spells_the_headers_number(
    table: str, header: str, spellings: tuple[str, ...], difference: PatientDifference
) -> None:
    identifier = patient_identifier(table=table, header=header, counts=PatientSource.TABLE)
    assert (identifier.spellings, identifier.difference) == (spellings, difference)


@pytest.mark.parametrize(
    ("table", "header", "spellings"), [("A", "B", ("B",)), ("A", "NA", ("A",)), ("12", "00012", ("00012", "12"))]
)
def test_the_header_counts_where_it_is_chosen(table: str, header: str, spellings: tuple[str, ...]) -> None:
    assert patient_identifier(table=table, header=header, counts=PatientSource.HEADER).spellings == spellings


def test_spellings_of_a_number() -> None:
    assert spellings_of_number("P-7") == ("P-7",)
    assert {"12", "12.0", "012", "00012", "0" * 14 + "12"} <= set(spellings_of_number("00012"))
    assert spellings_of_number("12.0")[0] == "12.0"
