"""Mappings that a site remembers, by the set of a table's column names.

The database keeps keyed hashes of names and values: a column that was chosen by mistake may hold those of people.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.intake.csv_columns import is_known
from portal.intake.csv_people import is_age_column, is_sex_column
from portal.intake.further_columns import ColumnKind
from portal.intake.mapping.facts import TableFacts, distinct_names, read_facts
from portal.intake.mapping.meaning import TableKind, TableMapping
from portal.intake.pseudonym_key import site_key
from portal.intake.tables import UnclearTable, read_table
from portal.models import ColumnMapping, Site, User


class Keys:
    """Keyed hashes of a site."""

    def __init__(self, site: Site) -> None:
        self._key = site_key(site)

    def column(self, name: str) -> str:
        return self._keyed("column", name)

    def value(self, value: str) -> str:
        return self._keyed("value", value.casefold())

    def shape(self, columns: Iterable[str]) -> str:
        """Of the set of column names, in any order."""
        return self._keyed("columns", "\n".join(sorted(columns)))

    def _keyed(self, kind: str, text: str) -> str:
        return hmac.new(self._key, f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()[:32]


class _KeyedLabels(Mapping[str, str]):
    """Meanings by value, of which only the hashes are known."""

    def __init__(self, meanings: Mapping[str, str], keys: Keys) -> None:
        self._meanings, self._keys = meanings, keys
        self._seen: dict[str, str | None] = {}

    def __getitem__(self, value: str) -> str:
        if value not in self._seen:
            self._seen[value] = self._meanings.get(self._keys.value(value))
        meaning = self._seen[value]
        if meaning is None:
            raise KeyError(value)
        return meaning

    def __iter__(self) -> Iterator[str]:
        return iter([value for value, meaning in self._seen.items() if meaning is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))


def remember(site: Site, mapping: TableMapping, columns: Sequence[str], made_by: User | None) -> ColumnMapping:
    """Store the mapping for tables with these columns, if it is not the one that counts already."""
    keys = Keys(site)
    shape, meaning = keys.shape(columns), _hashed(mapping, keys)
    newest = _newest(site, shape)
    if newest is not None and newest.meaning["columns"].get("label") == meaning["columns"].get("label"):
        meaning["labels"] = {**newest.meaning["labels"], **meaning["labels"]}  # of values that other tables had
    if newest is not None and newest.meaning == meaning and newest.made_by == made_by:
        return newest
    return ColumnMapping.objects.create(site=site, shape=shape, meaning=meaning, made_by=made_by)


def remembered(site: Site, columns: Sequence[str]) -> ColumnMapping | None:
    """The mapping that counts for tables with these columns."""
    return _newest(site, Keys(site).shape(columns))


def restored(stored: ColumnMapping, facts: TableFacts) -> TableMapping:
    """The mapping in the words of the table, which may hold values that the mapping does not know."""
    keys = Keys(stored.site)
    names = {keys.column(name): name for name in facts.columns}
    meaning: dict[str, Any] = stored.meaning
    keep = meaning["keep"]
    columns = {field: names[column] for field, column in meaning["columns"].items()}
    if not isinstance(keep, dict):
        keep = keep if meaning["kind"] == TableKind.LABELS else []
        columns, keep = columns | _people_of_earlier(facts, columns, names, keep), {}
    labels = _KeyedLabels(meaning["labels"], keys)
    if "label" in columns:
        for value in facts.values_of(columns["label"]).counts:
            labels.get(value.casefold())  # now it is known by its word
    return TableMapping(
        TableKind(meaning["kind"]),
        columns,
        {names[column]: ColumnKind(kept) for column, kept in keep.items()},
        labels,
        meaning["other_values"],
    )


def _people_of_earlier(
    facts: TableFacts, columns: Mapping[str, str], names: Mapping[str, str], keep: list[str] | None
) -> dict[str, str]:
    """Mappings of earlier releases keep columns without saying as what (None: all). Of these, sex and age are fields
    now; the others are left out until a manager declares them."""
    kept = facts.columns if keep is None else [names[column] for column in keep]
    free = [column for column in kept if column not in columns.values()]
    people = {}
    for field, is_of_field in (("sex", is_sex_column), ("age", is_age_column)):
        if of_field := [column for column in free if is_of_field(column)]:
            people[field] = of_field[0]
    return people


def _newest(site: Site, shape: str) -> ColumnMapping | None:
    return ColumnMapping.objects.filter(site=site, shape=shape).select_related("made_by", "site").last()


def _hashed(mapping: TableMapping, keys: Keys) -> dict[str, Any]:
    return {
        "kind": str(mapping.kind),
        "columns": {field: keys.column(column) for field, column in mapping.columns.items()},
        "keep": {keys.column(column): str(kept) for column, kept in sorted(mapping.keep.items())},
        "labels": {keys.value(value): meaning for value, meaning in mapping.labels.items()},
        "other_values": mapping.other_values,
    }


def made_words(stored: ColumnMapping) -> str:
    """Who said it, and when."""
    by = stored.made_by.username if stored.made_by else "somebody on the command line"
    return f"{by} said on {stored.created_at:%Y-%m-%d}"


@dataclass
class SiteMappings:
    """What the tables of one import mean. `chosen`: by a person for this import. With `asks_first`, nobody else's
    mapping counts, and a table without a chosen one is a question."""

    site: Site
    chosen: Sequence[ColumnMapping] = ()
    asks_first: bool = False
    beat: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.applied: dict[str, ColumnMapping] = {}  # by the name of the table

    def mapping_of(self, table: Path) -> TableMapping | None:
        """The mapping that a person chose or the site remembers; None: the names of the columns say what they mean.
        Raises UnclearTable where the table holds values that the mapping does not know."""
        columns = distinct_names(read_table(table, is_known).header)
        shape = Keys(self.site).shape(columns)
        stored = next((one for one in self.chosen if one.shape == shape), None)
        if stored is None and self.asks_first:
            raise UnclearTable(f"{table.name} waits, as its columns are to be checked first; say what they mean.")
        stored = stored or _newest(self.site, shape)
        if stored is None:
            return None
        facts = read_facts(table, beat=self.beat)
        mapping = restored(stored, facts)
        if not _covers(mapping, facts):
            raise UnclearTable(
                f"{table.name} has the columns of a table whose columns {made_words(stored)} how to read, and values "
                "in its column of labels that were not there then; say what they mean."
            )
        self.applied[table.name] = stored
        return mapping

    def sentences(self) -> list[str]:
        return [f"columns of {name} read as {made_words(stored)}" for name, stored in self.applied.items()]


def _covers(mapping: TableMapping, facts: TableFacts) -> bool:
    """Whether every value of the label column has a meaning."""
    if "label" not in mapping.columns or mapping.other_values is not None:
        return True
    values = facts.values_of(mapping.columns["label"])
    return values.is_complete and all(mapping.meaning_of(value) is not None for value in values.counts)
