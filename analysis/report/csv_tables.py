"""Tables as CSV: full precision, units in the header, and a notice on every line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.figures import NOTICE, RANDOM_WEIGHTS
from portal.labels.formula_cells import neutralised


@dataclass(frozen=True)
class Table:
    """columns: names in the header, unit in brackets: "sensitivity [share]"; rows: one value per column, None if
    missing; remark: a sentence on what the rows leave out."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    remark: str = ""


def escape_formula(value: Any) -> Any:
    """The value, with an apostrophe before a text that a spreadsheet would take for a formula."""
    return neutralised(value) if isinstance(value, str) else value


def sentences(*, random_weights: bool, note: str = "", remark: str = "") -> str:
    """Text for every line of an export: a warning of random weights, the notice, the note on test, a remark."""
    texts = [RANDOM_WEIGHTS if random_weights else "", NOTICE, note, remark]
    return " ".join(text if text.endswith(".") else f"{text}." for text in texts if text)


def as_csv(table: Table, *, notice: str) -> str:
    """CSV with the notice as last column of every line, so that a line cut out of the file keeps it. Numbers are
    written as Python's repr, so that they are read back as the same float."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*table.columns, "notice"])
    writer.writerows([*_values(row), notice] for row in table.rows)
    return text.getvalue()


def _values(row: Iterable[Any]) -> list[Any]:
    return ["" if value is None else escape_formula(value) for value in row]
