"""What de-identification did in an import: the elements of headers and the columns of tables, by name and count, and no
value of any. It is stored with the upload."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from portal.imaging.basic_profile import basic_profile
from portal.imaging.handled_elements import HANDLED, ElementOutcome, HandledElement, from_text
from portal.intake.table_columns import ColumnFate, TableFate
from portal.labels.formula_cells import neutralised

FORMAT = 1
HEADING = "De-identification:"  # of what `import_images` prints
MOST_ELEMENTS = 2000  # that are named; the others are counted together
_OTHERS = HandledElement("", "other elements", ElementOutcome.REMOVED)
CSV_COLUMNS = ("part", "tag", "name", "in_sequences", "outcome", "films", "profile", "how")
_KINDS = {"dicom": "DICOM", "png": "PNG", "jpeg": "JPEG", "tiff": "TIFF"}


@dataclass(frozen=True)
class ElementCount:
    """`profile`: the action of the Basic Profile of PS3.15, blank for what its table does not list."""

    element: HandledElement
    files: int
    profile: str


@dataclass
class DeidentifiedBatch:
    """`files`: how many were read, by their kind; those left out or in quarantine are not among them."""

    files: Counter[str] = field(default_factory=Counter)
    elements: Counter[HandledElement] = field(default_factory=Counter)
    tables: list[TableFate] = field(default_factory=list)

    def add(self, header: Mapping[str, str], kind: str) -> None:
        """A file that was decoded, by its header as the decoder gave it."""
        self.files[_KINDS.get(kind, kind)] += 1
        for element in from_text(header.get(HANDLED, "[]")):
            is_named = element in self.elements or len(self.elements) < MOST_ELEMENTS
            self.elements[element if is_named else _OTHERS] += 1

    def add_earlier(self, stored: Mapping[str, Any]) -> None:
        """What an import that was killed, and now goes on, had counted. The tables are read again."""
        earlier = from_json(stored)
        self.files.update(earlier.files)
        self.elements.update(earlier.elements)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "files": dict(sorted(self.files.items())),
            "elements": [
                {
                    "tag": count.element.tag,
                    "name": count.element.name,
                    "in_sequences": count.element.is_nested,
                    "outcome": count.element.outcome,
                    "films": count.files,
                    "profile": count.profile,
                }
                for count in self.counted()
            ],
            "tables": [
                {
                    "table": table.table,
                    "columns": [
                        {"column": one.column, "outcome": one.outcome, "how": one.how} for one in table.columns
                    ],
                }
                for table in self.tables
            ],
        }

    def counted(self, outcomes: Iterable[ElementOutcome] = ElementOutcome) -> list[ElementCount]:
        """The elements in the order of outcomes and tags."""
        profile = basic_profile()
        return [
            ElementCount(element, self.elements[element], profile.get(element.name, ""))
            for outcome in outcomes
            for element in sorted(self.elements)
            if element.outcome == outcome
        ]

    def sentences(self) -> list[str]:
        """What `import_images` prints."""
        lines = []
        if self.files:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.files.items()))
            named = Counter(element.outcome for element in self.elements)
            outcomes = ", ".join(f"{named[outcome]} {outcome}" for outcome in ElementOutcome)
            lines.append(f"  {kinds}; of the elements of their headers: {outcomes}")
            for name in ("private", "overlay"):
                films = max((count for one, count in self.elements.items() if one.name == name), default=0)
                if films:
                    lines.append(f"  {name} elements removed from at least {films} of the files")
        for table in self.tables:
            for outcome in ElementOutcome:
                columns = [one.column for one in table.columns if one.outcome == outcome]
                if columns:
                    lines.append(f"  {table.table}: {outcome}: {', '.join(columns)}")
        return [HEADING, *lines] if lines else []


def from_json(stored: Mapping[str, Any]) -> DeidentifiedBatch:
    """The batch that `to_json` wrote; an empty one of an import of an earlier release, which stored none."""
    batch = DeidentifiedBatch()
    batch.files.update(stored.get("files", {}))
    for row in stored.get("elements", []):
        element = HandledElement(row["tag"], row["name"], ElementOutcome(row["outcome"]), row["in_sequences"])
        batch.elements[element] += row["films"]
    batch.tables = [_table(row["table"], row["columns"]) for row in stored.get("tables", [])]
    return batch


def _table(name: str, columns: Sequence[Mapping[str, str]]) -> TableFate:
    fates = (ColumnFate(one["column"], ElementOutcome(one["outcome"]), one["how"]) for one in columns)
    return TableFate(name, tuple(fates))


def to_csv(batch: DeidentifiedBatch) -> str:
    """One line for each element, then one for each column of each table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for count in batch.counted():
        one = count.element
        nested = "yes" if one.is_nested else "no"
        writer.writerow(["header", one.tag, one.name, nested, one.outcome, count.files, count.profile, ""])
    for table in batch.tables:
        for column in table.columns:
            writer.writerow(
                [neutralised(table.table), "", neutralised(column.column), "", column.outcome, "", "", column.how]
            )
    return text.getvalue()
