"""What the columns of a table mean, and the values of its label column, where a person says so.

A mapping names columns and values as the table writes them. Its sentences quote both, so they are for the eyes of the
person who maps and never stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from portal.intake.csv_columns import may_be_kept
from portal.intake.further_columns import ColumnKind, why_no_category, why_no_number
from portal.intake.mapping.facts import TableFacts


class TableKind(StrEnum):
    LABELS = "labels"
    BOXES = "boxes"
    ASIDE = "aside"


FIELDS = {
    TableKind.LABELS: (
        *("filename", "image", "label", "finding", "patient_id", "projection", "split", "attributes"),
        *("sex", "age"),
    ),
    TableKind.BOXES: (
        *("filename", "image", "finding", "x", "y", "width", "height"),
        *("x_min", "y_min", "x_max", "y_max"),
    ),
    TableKind.ASIDE: (),
}
# The meanings of a value of the label column; a value that is no label leaves its film without one.
MEANINGS = ("normal", "abnormal", "unsure", "exclude", "")
_CHOICES = "normal, abnormal, unsure, exclude or not a label (in JSON, an empty text)"
_MAY_SHARE = {"label", "finding"}
_SIZES, _CORNERS = ("x", "y", "width", "height"), ("x_min", "y_min", "x_max", "y_max")


class InvalidMapping(Exception):
    """The message is shown to the person who maps, and quotes columns and values: it is never stored."""


@dataclass(frozen=True)
class TableMapping:
    """`columns`: field -> name of the column (`TableFacts.columns`). `keep`: further columns to
    keep, each as a number or a category. `labels`: value of the label column, case folded -> its meaning;
    `other_values`: the meaning of every value beside these, None where there is none."""

    kind: TableKind
    columns: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, ColumnKind] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    other_values: str | None = None

    def meaning_of(self, value: str) -> str | None:
        """The label that a value means; None if the mapping does not say. An empty cell is no label."""
        return self.labels.get(value.casefold(), self.other_values) if value else ""

    @property
    def box_columns(self) -> tuple[str, ...]:
        """The fields of a box, as corners or as a corner and a size."""
        return _CORNERS if "x_min" in self.columns else _SIZES

    @property
    def has_shared_label(self) -> bool:
        """Whether one column says the label and the findings."""
        return "label" in self.columns and self.columns.get("finding") == self.columns["label"]

    def to_json(self) -> dict[str, Any]:
        """The mapping as a mapping file and the API write it."""
        keep = {"keep": {column: str(kept) for column, kept in self.keep.items()}}
        labels = {"labels": dict(self.labels)} if "label" in self.columns else {}
        others = {} if self.other_values is None else {"other_values": self.other_values}
        return {"kind": str(self.kind), "columns": dict(self.columns), **keep, **labels, **others}


def mapping_of_json(data: Any, table: str) -> TableMapping:
    """Return the mapping of one table of a mapping file or an API call. Raises InvalidMapping."""
    if not isinstance(data, dict):
        raise InvalidMapping(f"The mapping of {table} is not a JSON object; write an object with columns and labels.")
    if unknown := sorted(set(data) - {"kind", "columns", "keep", "labels", "other_values"}):
        raise InvalidMapping(
            f"The mapping of {table} has the key {unknown[0]!r}; its keys are kind, columns, keep, labels and "
            "other_values."
        )
    kind = data.get("kind", "labels")
    if kind not in list(TableKind):
        raise InvalidMapping(f"The mapping of {table} has the kind {kind!r}; write labels, boxes or aside.")
    columns, labels = data.get("columns", {}), data.get("labels", {})
    for name, texts in (("columns", columns), ("labels", labels)):
        if not _are_texts(texts):
            raise InvalidMapping(f"In the mapping of {table}, {name!r} is not an object of texts; write {{}} for none.")
    keep, others = data.get("keep"), data.get("other_values")
    if keep and not (isinstance(keep, dict) and all(kept in list(ColumnKind) for kept in keep.values())):
        raise InvalidMapping(
            f"In the mapping of {table}, 'keep' does not say of each column whether it is a number or a category; "
            'write for example {"BMI": "number", "smoking": "category"}, and {} for none. Sex and age are fields.'
        )
    if others is not None and not isinstance(others, str):
        raise InvalidMapping(f"In the mapping of {table}, 'other_values' is not a text; write {_CHOICES}.")
    return TableMapping(
        TableKind(kind),
        columns,
        {column: ColumnKind(kept) for column, kept in (keep or {}).items()},
        {value.casefold(): meaning for value, meaning in labels.items()},
        others,
    )


def _are_texts(data: Any) -> bool:
    return isinstance(data, dict) and all(isinstance(text, str) for text in data.values())


def check_mapping(mapping: TableMapping, facts: TableFacts) -> None:
    """Raises InvalidMapping where the mapping does not fit the table or leaves something open."""
    if mapping.kind == TableKind.ASIDE:
        return
    _check_fields(mapping, facts)
    _check_sharing(mapping, facts)
    if not {"filename", "image"} & set(mapping.columns):
        raise InvalidMapping(
            f"No column of {facts.name} holds the file names; choose the column that names the file of each film "
            "(filename), or its UUID in Hilum (image)."
        )
    if mapping.kind == TableKind.BOXES:
        missing = [name for name in mapping.box_columns if name not in mapping.columns]
        if missing:
            raise InvalidMapping(
                f"No column of {facts.name} is chosen for {missing[0]!r}; a box needs x, y, width and height, or "
                "x_min, y_min, x_max and y_max."
            )
    _check_kept(mapping, facts)
    _check_labels(mapping, facts)


def _check_fields(mapping: TableMapping, facts: TableFacts) -> None:
    for name, column in mapping.columns.items():
        if name not in FIELDS[mapping.kind]:
            raise InvalidMapping(
                f"The mapping of {facts.name} has the field {name!r}; the fields of a table of {mapping.kind} are "
                f"{', '.join(FIELDS[mapping.kind])}."
            )
        if column not in facts.columns:
            raise InvalidMapping(
                f"{facts.name} has no column {column!r}, which is chosen for {name!r}; its columns are "
                f"{_listed(facts.columns)}."
            )


def _check_sharing(mapping: TableMapping, facts: TableFacts) -> None:
    for column, uses in Counter(mapping.columns.values()).items():
        fields = [name for name in mapping.columns if mapping.columns[name] == column]
        if uses > 1 and set(fields) != _MAY_SHARE:
            raise InvalidMapping(
                f"The column {column!r} of {facts.name} is chosen for {' and '.join(map(repr, fields))}; choose "
                "another column for one of them. Only label and finding may share a column."
            )


def _check_kept(mapping: TableMapping, facts: TableFacts) -> None:
    for column, kept in mapping.keep.items():
        if column not in facts.columns:
            raise InvalidMapping(
                f"{facts.name} has no column {column!r}, which is to be kept; its columns are {_listed(facts.columns)}."
            )
        if column in mapping.columns.values():
            raise InvalidMapping(
                f"The column {column!r} of {facts.name} is used as a field already; take it from the columns to keep."
            )
        if not may_be_kept(column):
            raise InvalidMapping(
                f"The column {column!r} of {facts.name} may identify a person, by its name, and cannot be kept; leave "
                "it out."
            )
        values = facts.values_of(column)
        why_not = (
            why_no_number(values.counts)
            if kept == ColumnKind.NUMBER
            else why_no_category(values.counts, is_complete=values.is_complete)
        )
        if why_not:
            raise InvalidMapping(
                f"The column {column!r} of {facts.name} {why_not}; it cannot be kept as a {kept}: leave it out."
            )


def _check_labels(mapping: TableMapping, facts: TableFacts) -> None:
    column = mapping.columns.get("label")
    if column is None:
        if mapping.labels or mapping.other_values is not None:
            raise InvalidMapping(
                f"The mapping of {facts.name} gives meanings to values, and no column is chosen for 'label'; choose it."
            )
        return
    for value, meaning in mapping.labels.items():
        _check_meaning(f"The value {value!r}", column, meaning)
    if mapping.other_values is not None:
        _check_meaning("Every other value", column, mapping.other_values)
        return
    values = facts.values_of(column)
    for value, rows in values.counts.items():
        if mapping.meaning_of(value) is None:
            raise InvalidMapping(
                f"The value {value!r} of the column {column!r} has no meaning yet ({rows} row{'s' * (rows > 1)} of "
                f"{facts.name}); choose {_CHOICES}."
            )
    if not values.is_complete:
        raise InvalidMapping(
            f"The column {column!r} of {facts.name} has more than {len(values.counts)} different values; choose what "
            "every other value means (other_values), or another column for the label."
        )


def _check_meaning(subject: str, column: str, meaning: str) -> None:
    if meaning not in MEANINGS:
        raise InvalidMapping(f"{subject} of the column {column!r} is to mean {meaning!r}; choose {_CHOICES}.")


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns))
