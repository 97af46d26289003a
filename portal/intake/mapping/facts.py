"""What a table holds, for the person who says what its columns mean: columns, first rows, values with their counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from portal.intake.csv_columns import is_known
from portal.intake.tables import read_table, value_of

ROWS_SHOWN = 10
MOST_VALUES = 1000  # of a column
ROWS_BETWEEN_BEATS = 1000


@dataclass(frozen=True)
class ColumnValues:
    """`counts`: values as they are written first, which differ in more than upper and lower case, with the number of
    their rows, most frequent first. Without `is_complete`, there are others."""

    counts: Mapping[str, int]
    is_complete: bool = True


@dataclass(frozen=True)
class TableFacts:
    """`columns` are distinct, `first_rows` as wide as them."""

    name: str
    columns: tuple[str, ...]
    first_rows: tuple[tuple[str, ...], ...]
    rows: int
    values: tuple[ColumnValues, ...]

    def values_of(self, column: str) -> ColumnValues:
        return self.values[self.columns.index(column)]


def distinct_names(header: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns, each once: `x (2)` for the second x, `column 3` for one without a name."""
    names: list[str] = []
    for place, name in enumerate(header, start=1):
        name = name or f"column {place}"
        number, distinct = 1, name
        while distinct in names:
            number += 1
            distinct = f"{name} ({number})"
        names.append(distinct)
    return tuple(names)


def read_facts(path: Path, *, beat: Callable[[], None] = lambda: None) -> TableFacts:
    """`beat` is called every thousand rows. Raises InvalidCsv."""
    table = read_table(path, is_known)
    counters = [_ValueCounter() for _ in table.header]
    first_rows: list[tuple[str, ...]] = []
    rows = 0
    for row in table.rows:
        if row.problem:
            continue
        rows += 1
        if rows % ROWS_BETWEEN_BEATS == 0:
            beat()
        values = [value_of(cell) for cell in row.cells]
        if len(first_rows) < ROWS_SHOWN:
            first_rows.append(tuple(values))
        for counter, value in zip(counters, values, strict=True):
            counter.add(value)
    columns = distinct_names(table.header)
    return TableFacts(path.name, columns, tuple(first_rows), rows, tuple(counter.values() for counter in counters))


class _ValueCounter:
    def __init__(self) -> None:
        self._written: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._is_complete = True

    def add(self, value: str) -> None:
        folded = value.casefold()
        if folded in self._counts:
            self._counts[folded] += 1
        elif not value:
            return
        elif len(self._counts) < MOST_VALUES:
            self._written[folded] = value
            self._counts[folded] = 1
        else:
            self._is_complete = False

    def values(self) -> ColumnValues:
        counts = {self._written[folded]: count for folded, count in self._counts.items()}
        return ColumnValues(dict(sorted(counts.items(), key=lambda pair: -pair[1])), self._is_complete)
