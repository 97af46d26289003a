"""Tables as CSV: full precision, units in the header, and what every export says on every line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.figures import NOTICE, RANDOM_WEIGHTS

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Table:
    """columns as they head the CSV, unit in brackets: "sensitivity [share]"; rows of one value a column, None where
    there is none. `remark` is a sentence of what the rows leave out."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    remark: str = ""


def cell(value: Any) -> Any:
    """A text that would start a formula gets an apostrophe before it; anything else stays as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_STARTS_A_FORMULA) else value


def sentences(*, random_weights: bool, note: str = "", remark: str = "") -> str:
    """What stands on every line of an export: the loud warning first, then the notice, then what is known of test."""
    said = [RANDOM_WEIGHTS if random_weights else "", NOTICE, note, remark]
    return " ".join(one if one.endswith(".") else f"{one}." for one in said if one)


def as_csv(table: Table, *, notice: str) -> str:
    """One line a row, the last column the same on all: a line cut out of the file keeps it. Numbers as Python writes
    them, so that the same float comes back."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*table.columns, "notice"])
    writer.writerows([*_cells(row), notice] for row in table.rows)
    return text.getvalue()


def _cells(row: Iterable[Any]) -> list[Any]:
    return ["" if value is None else cell(value) for value in row]
