"""What became of each column of a table: for the report of an import, in names that may be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portal.imaging.handled_elements import ElementOutcome
from portal.intake.csv_columns import is_index, is_known, may_identify
from portal.intake.further_columns import ColumnKind
from portal.intake.stored_words import column_words

MAY_IDENTIFY = "may identify a person, by its name"
NOT_DECLARED = "not declared a number or a category"
ROW_NUMBERS = "numbers of rows"
NOT_NEEDED = "of no use here: report texts, dates and identifiers are never kept"


@dataclass(frozen=True)
class ColumnFate:
    """`how`: as what the column is kept, or why it is not."""

    column: str
    outcome: ElementOutcome
    how: str


@dataclass(frozen=True)
class TableFate:
    table: str
    columns: tuple[ColumnFate, ...]


Fate = tuple[ElementOutcome, str]
HASHED: Fate = (ElementOutcome.REPLACED, "patient, as a keyed hash")
AGE: Fate = (ElementOutcome.CLEANED, "age in whole years, above 89 together")
YEAR: Fate = (ElementOutcome.CLEANED, "age in whole years, above 89 together; the date itself is not kept")
SEX: Fate = (ElementOutcome.KEPT, "sex: M, F or O")
FILE: Fate = (ElementOutcome.KEPT, "name of the film's file")
LABEL: Fate = (ElementOutcome.KEPT, "label")
FINDING: Fate = (ElementOutcome.KEPT, "findings")
VIEW: Fate = (ElementOutcome.KEPT, "view, one of the known ones")
PART: Fate = (ElementOutcome.KEPT, "part of a split")
BOX: Fate = (ElementOutcome.KEPT, "box")
READER: Fate = (ElementOutcome.KEPT, "reader, as a code")
ORIGIN: Fate = (ElementOutcome.KEPT, "what the label was made from")
JOINS: Fate = (ElementOutcome.REMOVED, "joins the tables, and is not kept")

# Of Hilum's own columns, by their normalised names.
KNOWN_FATES: Mapping[str, Fate] = {
    "patient_id": HASHED,
    "filename": FILE,
    "image": (ElementOutcome.KEPT, "UUID of a film that is there"),
    "label": LABEL,
    "projection": VIEW,
    "split": PART,
    "finding": FINDING,
    "attributes": (ElementOutcome.KEPT, "attributes of a normal film"),
    "label_origin": ORIGIN,
    "reader_code": READER,
    "label_source": (ElementOutcome.KEPT, "whether people or an import gave the label"),
    "sex": SEX,
    "age": AGE,
    **dict.fromkeys(("x", "y", "width", "height", "x_min", "y_min", "x_max", "y_max"), BOX),
}
_OF_KIND: Mapping[ColumnKind, Fate] = {
    ColumnKind.NUMBER: (ElementOutcome.CLEANED, "number, to four significant digits"),
    ColumnKind.CATEGORY: (ElementOutcome.CLEANED, "category; values of fewer than ten rows together"),
}


def fate_of(written: str, place: int, name: str, kind: ColumnKind | None = None) -> ColumnFate:
    """The column at this place, from 1, that is read as Hilum's `name` or kept as a further column of this kind;
    otherwise it is not kept."""
    shown = written if kind or is_known(written) else column_words(written, place)
    fate = _OF_KIND[kind] if kind else KNOWN_FATES.get(name)
    if fate is None:
        why = ROW_NUMBERS if is_index(written) else MAY_IDENTIFY if may_identify(written) else NOT_DECLARED
        fate = (ElementOutcome.REMOVED, why)
    return ColumnFate(shown[:40], *fate)


def fates_of_published(header: Sequence[str], fates: Mapping[str, Fate]) -> tuple[ColumnFate, ...]:
    """The columns of a published table of which `fates` are used, by their published names."""
    return tuple(
        ColumnFate(name, *fates[name])
        if name in fates
        else ColumnFate(column_words(name, place), ElementOutcome.REMOVED, NOT_NEEDED)
        for place, name in enumerate(header, start=1)
    )
