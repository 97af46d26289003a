"""Table 1 of a split: patients and films of each part by label, how these groups differ, and who gave the labels."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from analysis import statistics
from analysis.sections.attributes import GROUPS, SEXES, UNKNOWN, scanner
from portal.labels.events import labels_at
from portal.labels.resolving import Label
from portal.models import Image, LabelSource, LabelValue, Part, QuarantinedFile, Split, SplitImage

COMPARED_WITH = Part.FIT
AGE = "Age in years, median (quartiles)"
NEITHER = "neither"  # the group of films labelled neither normal nor abnormal
SOURCES = {"import": "the import", "reader": "readers", "consensus": "double reading", "adjudication": "adjudication"}


@dataclass(frozen=True)
class Column:
    """The films of one part, all or those with one label: numbers of patients and films; known ages in years; films by
    attribute and category; films by label and its source; films by finding. `differences` are standardised
    differences, by row, of all films of a part from those of fit; of its normal films from the normal ones of fit; of
    its abnormal films from its normal ones. `groups` are the films of a part by label."""

    part: str
    patients: int
    unidentified: int
    films: int
    ages: list[float]
    categories: dict[str, Counter[str]]
    references: dict[str, Counter[str]]
    findings: Counter[str]
    differences: dict[str, float | None] = field(default_factory=dict)
    label: str = ""  # of a group: normal, abnormal or neither
    compared_with: str = ""  # the group that `differences` are from, such as "fit, normal"
    groups: tuple[Column, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.part}, {self.label}" if self.label else self.part

    @property
    def age_words(self) -> str:
        """Median and quartiles, or "not known"."""
        if not self.ages:
            return "not known"
        quartiles = np.percentile(self.ages, [25, 50, 75])
        low, middle, high = (f"{value:.1f}".removesuffix(".0") for value in quartiles)  # .0f writes 48.5 as 48
        return f"{middle} ({low}–{high})"

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite difference (complete imbalance) is the text "complete"."""
        return {
            "part": self.part,
            "label": self.label,
            "patients": self.patients,
            "unidentified": self.unidentified,
            "films": self.films,
            "ages": self.ages,
            "categories": {name: dict(counts) for name, counts in self.categories.items()},
            "references": {label: dict(counts) for label, counts in self.references.items()},
            "findings": dict(self.findings),
            "differences": {
                name: "complete" if value is not None and math.isinf(value) else value
                for name, value in self.differences.items()
            },
            "compared_with": self.compared_with,
            "by_label": {group.label: group.to_json() for group in self.groups},
        }


@dataclass(frozen=True)
class TableOne:
    """columns: in the order of parts; rows: attribute -> its categories, most frequent first."""

    columns: list[Column]
    rows: dict[str, list[str]]
    references: list[tuple[str, str]]  # (label, source) that occur
    findings: list[str]

    @property
    def groups(self) -> list[Column]:
        """The groups of all parts, in the order of parts."""
        return [group for column in self.columns for group in column.groups]


@dataclass(frozen=True)
class Flow:
    """Numbers of films from files to parts: in the datasets now, left out of the split by reason, in each part."""

    imported: int
    quarantined: int
    left_out: dict[str, int]
    parts: dict[str, int]

    @property
    def since(self) -> int:
        """Films imported after the split was frozen, which are in none of its counts."""
        return max(0, self.imported - sum(self.left_out.values()) - sum(self.parts.values()))


def table_one(split: Split) -> TableOne:
    """Table 1 of the films in the split, with their labels at its cut-off."""
    members = SplitImage.objects.filter(member__split=split).select_related(
        "member", "image__patient", "image__dataset"
    )
    by_part: dict[str, list[Image]] = defaultdict(list)
    for row in members.only(
        "member__part", "image__view_position", "image__header", "image__patient__sex", "image__patient__identified",
        "image__dataset__name",
    ):  # fmt: skip
        by_part[row.member.part].append(row.image)
    labels = labels_at([film.pk for films in by_part.values() for film in films], split.label_cutoff)
    parts = [_part(part, by_part[part], labels) for part in Part.values if part in by_part]
    base = next((column for column in parts if column.part == COMPARED_WITH), None)
    columns = [replace(_compared(column, base), groups=_compared_groups(column, base)) for column in parts]
    return TableOne(
        columns=columns,
        rows={name: _in_order(column.categories[name] for column in columns) for name in GROUPS if name != "age"},
        references=[
            (label, source)
            for label in ("normal", "abnormal")
            for source in LabelSource.values
            if any(column.references.get(label, Counter())[source] for column in columns)
        ],
        findings=_in_order(column.findings for column in columns),
    )


def _part(part: str, films: Sequence[Image], labels: dict[int, Label]) -> Column:
    """The column of a part with those of its groups; a label that no film has makes no group."""
    by_label: dict[str, list[Image]] = {LabelValue.NORMAL: [], LabelValue.ABNORMAL: [], NEITHER: []}
    for film in films:
        label = labels.get(film.pk)
        by_label[label.value if label and label.value in by_label else NEITHER].append(film)
    groups = [replace(_column(part, own, labels), label=str(label)) for label, own in by_label.items() if own]
    return replace(_column(part, films, labels), groups=tuple(groups))


def _compared_groups(column: Column, base: Column | None) -> tuple[Column, ...]:
    """Normal films are compared with the normal ones of `base`, abnormal films with the normal ones of their part."""
    own, of_base = ({group.label: group for group in part.groups} if part else {} for part in (column, base))
    against = {
        str(LabelValue.NORMAL): of_base.get(LabelValue.NORMAL),
        str(LabelValue.ABNORMAL): own.get(LabelValue.NORMAL),
    }
    return tuple(_compared(group, against.get(group.label)) for group in column.groups)


def _compared(column: Column, base: Column | None) -> Column:
    """The column with its differences from another one."""
    if base is None or column.name == base.name:
        return column
    differences = {"age": statistics.difference_of_means(column.ages, base.ages)} | {
        name: statistics.difference_of_shares(counts, base.categories[name])
        for name, counts in column.categories.items()
    }
    return replace(column, differences=differences, compared_with=base.name)


def _column(part: str, films: Sequence[Image], labels: dict[int, Label]) -> Column:
    references: dict[str, Counter[str]] = defaultdict(Counter)
    findings: Counter[str] = Counter()
    for film in films:
        if label := labels.get(film.pk):
            references[label.value][label.source] += 1
            findings.update(label.findings)
    patients = {film.patient_id: film.patient for film in films}
    return Column(
        part=part,
        patients=len(patients),
        unidentified=sum(not patient.identified for patient in patients.values()),
        films=len(films),
        ages=[age for age in map(_age, films) if age is not None],
        categories={
            "view": Counter(film.view_position or UNKNOWN for film in films),
            "sex": Counter(SEXES.get(film.patient.sex, UNKNOWN) for film in films),
            "dataset": Counter(film.dataset.name for film in films),
            "scanner": Counter(scanner(film) for film in films),
        },
        references=dict(references),
        findings=findings,
    )


def _age(film: Image) -> float | None:
    try:
        age = float(film.header.get("age_years", ""))
    except ValueError:
        return None
    return age if math.isfinite(age) else None


def _in_order(counters: Iterable[Counter[str]]) -> list[str]:
    """The counted names, most frequent first."""
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return [name for name, _ in total.most_common()]


def flow(split: Split) -> Flow:
    datasets = split.datasets.all()
    films = SplitImage.objects.filter(member__split=split)
    return Flow(
        imported=Image.objects.filter(dataset__in=datasets).count(),
        quarantined=QuarantinedFile.objects.filter(dataset__in=datasets).count(),
        left_out=dict(split.counts.get("left_out", {})),
        parts={part: count for part in Part.values if (count := films.filter(member__part=part).count())},
    )


def in_words(table: TableOne) -> Iterator[tuple[str, list[str]]]:
    """Rows of the table: name, one text for each of its groups."""
    columns = table.groups
    yield "Patients", [f"{column.patients:,}" for column in columns]
    yield "Patients without an identifier", [f"{column.unidentified:,}" for column in columns]
    yield "Films", [f"{column.films:,}" for column in columns]
    yield AGE, [f"{column.age_words}{_of_known(column)}" for column in columns]
    for attribute, categories in table.rows.items():
        for category in categories:
            counts = [column.categories[attribute][category] for column in columns]
            yield f"{GROUPS[attribute]}: {category}", _shares(counts, columns)
    for label, source in table.references:
        counts = [column.references.get(label, Counter())[source] for column in columns]
        yield f"Labelled {label} by {SOURCES[source]}", _shares(counts, columns)
    for finding in table.findings:
        yield f"Finding: {finding}", _shares([column.findings[finding] for column in columns], columns)


def compared(table: TableOne) -> list[Column]:
    """The groups that are compared with another one."""
    return [group for group in table.groups if group.compared_with]


def differences_in_words(table: TableOne) -> Iterator[tuple[str, list[str]]]:
    """Rows of the standardised differences: name, one text for each of `compared`."""
    for name, words in {"age": AGE.partition(",")[0], **{name: GROUPS[name] for name in table.rows}}.items():
        yield words, [_difference(column, name) for column in compared(table)]


def _of_known(column: Column) -> str:
    return f", of {len(column.ages):,} films" if 0 < len(column.ages) < column.films else ""


def _shares(counts: Sequence[int], columns: Sequence[Column]) -> list[str]:
    return [f"{count:,} ({100 * count / column.films:.1f} %)" for count, column in zip(counts, columns, strict=True)]


def _difference(column: Column, name: str) -> str:
    value = column.differences.get(name)
    if value is None:
        return "–"
    # a minus sign, which print wants, and which a spreadsheet does not take for the beginning of a formula
    return f"{value:.2f}".replace("-", "−") if math.isfinite(value) else "complete"
