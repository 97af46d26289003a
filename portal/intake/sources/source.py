"""What an import knows of a published dataset: its tables, and the row of labels that each of their rows becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from portal.imaging.views import FRONTAL
from portal.intake.csv_labels import Box, CsvRow
from portal.intake.left_out import LeftOut as LeftOut
from portal.intake.sources.published_table import PublishedTable
from portal.intake.table_columns import Fate
from portal.intake.tables import InvalidCsv

ADULT = 18  # years


class Views(StrEnum):
    """Which films to take by their view."""

    PA = "pa"
    FRONTAL = "frontal"
    ALL = "all"


VIEW_WORDS = {
    Views.PA: "PA only",
    Views.FRONTAL: "All frontal views: PA, AP and those without a view",
    Views.ALL: "All views, laterals too",
}


class InvalidSource(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True, slots=True)
class SourceFilm:
    """A film of a published dataset. `boxes`: None where its tables have none, so that boxes stay as they are."""

    row: CsvRow
    boxes: tuple[Box, ...] | None = None


@dataclass(frozen=True)
class SourceOptions:
    views: Views
    children: bool = False

    def left_out(self, *, view: str, age_years: str) -> LeftOut | None:
        """Why a film with this view and age is left out. Films whose age is not known are taken."""
        if self.views == Views.PA and view != "PA":
            return LeftOut.VIEW
        if self.views == Views.FRONTAL and view not in FRONTAL:
            return LeftOut.VIEW
        if not self.children and age_years.isdigit() and int(age_years) < ADULT:
            return LeftOut.CHILD
        return None

    def to_json(self) -> dict[str, Any]:
        return {"views": str(self.views), "children": self.children}


@dataclass(frozen=True)
class TableShape:
    """How a table of a dataset is recognised: by columns that it has and has not, and by a part of its name. `name`:
    that of the published file, for messages."""

    name: str
    columns: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    part_of_name: str = ""
    is_needed: bool = True
    may_be_several: bool = False

    def fits(self, table: PublishedTable) -> bool:
        header = set(table.header)
        named = re.search(self.part_of_name, table.name.lower()) is not None
        return named and self.columns <= header and self.lacks.isdisjoint(header)


Tables = Mapping[str, Sequence[PublishedTable]]  # by the key of their shape
ReadFilms = Callable[[Tables, SourceOptions], Iterator[SourceFilm | LeftOut]]


@dataclass(frozen=True)
class PublishedSource:
    """A published dataset. `films` yields what becomes of each row of its tables. `parts_of_name`: how many parts at
    the end of a film's path tell it from all others. `bits`: how many of the 16 bits of its pictures are used, as its
    tables say. `fates`: what becomes of each column that is read; of the others nothing is kept."""

    key: str
    title: str
    shapes: Mapping[str, TableShape]
    films: ReadFilms
    fates: Mapping[str, Fate]
    views: Views = Views.FRONTAL
    parts_of_name: int = 1
    bits: int | None = None

    def tables_of(self, tables: Sequence[PublishedTable]) -> Tables:
        """The tables by the key of their shape. Raises InvalidCsv where one is missing, or two are the same."""
        by_key = {key: [table for table in tables if shape.fits(table)] for key, shape in self.shapes.items()}
        for key, shape in self.shapes.items():
            if shape.is_needed and not by_key[key]:
                columns = f", which has the columns {', '.join(sorted(shape.columns))}" if shape.columns else ""
                raise InvalidCsv(
                    f"{self.title} is imported with its table {shape.name}{columns}; no table of this import is that. "
                    "Put it beside the films."
                )
            if len(by_key[key]) > 1 and not shape.may_be_several:
                names = " and ".join(table.name for table in by_key[key][:2])
                raise InvalidCsv(f"{names} are both the table {shape.name} of {self.title}; keep one of them.")
        return by_key

    def options_of(self, data: Mapping[str, Any]) -> SourceOptions:
        """The options of a form, a command or a row. Raises InvalidSource."""
        views = data.get("views") or self.views
        if views not in list(Views):
            raise InvalidSource(f"The views are {str(views)[:20]!r}; choose {', '.join(Views)}.")
        return SourceOptions(Views(views), bool(data.get("children")))
