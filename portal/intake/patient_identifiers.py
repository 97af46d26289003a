"""Which patient a film belongs to, where its table and its header each give an identifier.

Spreadsheets take the zeros from 00012, and programs write a column of numbers with an empty cell as 12.0. Where table
and header give one number in two spellings, the film is one patient's; where they give two identifiers, a person says
which counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from portal.intake.tables import value_of

_LONGEST_NUMBER = 16  # digits, with zeros in front


class PatientSource(StrEnum):
    """What counts where table and header name two patients."""

    TABLE = "table"
    HEADER = "header"


class PatientDifference(StrEnum):
    """How table and header differ; also the names of the counts of an import's report."""

    NONE = ""
    SPELLING = "patients spelled otherwise"
    PATIENT = "patients differ"


@dataclass(frozen=True)
class PatientIdentifier:
    """The film's patient is the first of `spellings` that is there, and otherwise a new one under the first; without
    spellings the film is its own patient."""

    spellings: tuple[str, ...]
    difference: PatientDifference = PatientDifference.NONE


def patient_identifier(*, table: str, header: str, counts: PatientSource) -> PatientIdentifier:
    """The identifier of a film's patient by the values of table and header, either of which may be empty."""
    table, header = value_of(table), value_of(header)
    of_table = _distinct(_whole(table), table)
    if not table or not header:
        return PatientIdentifier(_distinct(header) if not table else of_table)
    if table == header:
        return PatientIdentifier((header,))
    if _number(table) is not None and _number(table) == _number(header):
        return PatientIdentifier(_distinct(header, *of_table), PatientDifference.SPELLING)
    chosen = of_table if counts == PatientSource.TABLE else (header,)
    return PatientIdentifier(chosen, PatientDifference.PATIENT)


def spellings_of_number(identifier: str) -> tuple[str, ...]:
    """The identifier, and where it is a number its other spellings: as a decimal, and with zeros in front."""
    number = _number(identifier)
    if number is None:
        return (identifier,)
    padded = [number.zfill(digits) for digits in range(len(number), _LONGEST_NUMBER + 1)]
    return _distinct(identifier, f"{number}.0", *padded)


def _whole(identifier: str) -> str:
    return re.sub(r"^([0-9]+)\.0+$", r"\1", identifier)


def _number(identifier: str) -> str | None:
    """The number without zeros in front and without .0; None for any other identifier."""
    whole = _whole(identifier)
    return (whole.lstrip("0") or "0") if re.fullmatch(r"[0-9]+", whole) else None


def _distinct(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
