"""Which patient a film belongs to, where its table and its header each give an identifier.

Spreadsheets take the zeros from 00012, and programs write a column of numbers with an empty cell as 12.0. Where table
and header give one number in two spellings, the film is one patient's; where they give two identifiers, a person says
which counts.
"""

from __future__ import annotations

import re
import unicodedata
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
    of_table, of_header = _spellings(value_of(table), table), _spellings(value_of(header), header)
    if not of_table or not of_header:
        return PatientIdentifier(of_table or of_header)
    one, other = of_table[0], of_header[0]
    if _folded(one) == _folded(other):
        return PatientIdentifier(_distinct(*of_header, *of_table))
    if _number(one) is not None and _number(one) == _number(other):
        return PatientIdentifier(_distinct(*of_header, *of_table), PatientDifference.SPELLING)
    return PatientIdentifier(of_table if counts == PatientSource.TABLE else of_header, PatientDifference.PATIENT)


def spellings_of_number(identifier: str) -> tuple[str, ...]:
    """The identifier, and where it is a number its other spellings: as a decimal, and with zeros in front."""
    number = _number(identifier)
    if number is None:
        return (identifier,)
    padded = [number.zfill(digits) for digits in range(len(number), _LONGEST_NUMBER + 1)]
    return _distinct(identifier, f"{number}.0", *padded)


def _spellings(value: str, written: str) -> tuple[str, ...]:
    """As it is meant and as it is written, under which an earlier release may have stored the patient."""
    return _distinct(_whole(value), value, written.strip()) if value else ()


def _folded(identifier: str) -> str:
    """As pseudonyms compare identifiers."""
    return unicodedata.normalize("NFC", identifier).casefold()


def _whole(identifier: str) -> str:
    return re.sub(r"^([0-9]+)\.0+$", r"\1", identifier)


def _number(identifier: str) -> str | None:
    """The number without zeros in front and without .0; None for any other identifier."""
    whole = _whole(identifier)
    return (whole.lstrip("0") or "0") if re.fullmatch(r"[0-9]+", whole) else None


def _distinct(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
