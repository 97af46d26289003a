"""The AUROC of an evaluated part by finding, by group, by attribute of the normal films, and under other treatments of
labels that are neither normal nor abnormal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis import figures, statistics
from analysis.evaluation.evaluate import CLASSES, ScoredPart, scored_part
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures.palette import Theme
from analysis.models import Evaluation
from analysis.sections.attributes import GROUPS, attributes_of
from analysis.sections.trivial_baselines import Trivial, trivial_of
from portal.models import CurrentLabel, LabelValue

# (label, class that it is counted as)
TREATMENTS = [
    (LabelValue.UNSURE.value, 1),
    (LabelValue.UNSURE.value, 0),
    (CurrentLabel.UNRESOLVED, 1),
    (CurrentLabel.UNRESOLVED, 0),
]


@dataclass(frozen=True)
class Treatment:
    """The AUROC of the part if films of another label count as normal or abnormal; `films` of them have a score."""

    words: str
    films: int
    auroc: statistics.Auroc


@dataclass(frozen=True)
class Breakdown:
    """At the run's weight: the AUROC of all films, by finding, by group of each attribute, of all abnormal films
    against the normal ones with an attribute such as a device, by treatment, and trivial scores for comparison."""

    part: str
    weight: float
    overall: statistics.Auroc
    findings: tuple[statistics.Finding, ...]
    groups: dict[str, tuple[statistics.Subgroup, ...]]
    normals: tuple[statistics.Subgroup, ...]
    treatments: tuple[Treatment, ...]
    trivial: Trivial


def break_down(evaluation: Evaluation, *, part: str) -> Breakdown:
    """The breakdown of a part. An attribute with the same value in all films has no groups. Raises CannotEvaluate
    when the run's folder is gone."""
    weight = float(evaluation.metrics["weight"])
    scored = evaluated_part(evaluation, part)
    known = attributes_of(scored, cutoff=evaluation.label_cutoff)
    scores = scored.scores_at(weight)
    return Breakdown(
        part=part,
        weight=weight,
        overall=statistics.auroc_interval(scored.labels, scores, scored.patients),
        findings=statistics.finding_aurocs(scored.labels, scores, known.findings, scored.patients),
        groups={
            name: statistics.subgroup_aurocs(scored.labels, scores, groups, scored.patients)
            for name, groups in known.groups.items()
            if len(set(groups)) > 1
        },
        normals=statistics.normal_attribute_aurocs(scored.labels, scores, known.of_normals, scored.patients),
        treatments=tuple(_treatments(evaluation, scored, weight)),
        trivial=trivial_of(evaluation, scored, weight=weight),
    )


def _treatments(evaluation: Evaluation, reported: ScoredPart, weight: float) -> list[Treatment]:
    treatments = []
    for label, counted_as in TREATMENTS:
        if label not in reported.left_out:
            continue
        scored = scored_part(
            evaluation.run, part=reported.part, cutoff=evaluation.label_cutoff, classes={**CLASSES, label: counted_as}
        )
        area = statistics.auroc_interval(scored.labels, scored.scores_at(weight), scored.patients)
        words = f"{label} counted as {'abnormal' if counted_as else 'normal'}"
        treatments.append(Treatment(words, len(scored.images) - len(reported.images), area))
    return treatments


def forest(breakdown: Breakdown, *, theme: Theme, random_weights: bool) -> dict[str, Any]:
    """The forest plot of findings and groups, for Plotly."""
    return figures.as_json(
        figures.forest_figure(
            forest_rows(breakdown), overall=breakdown.overall, theme=theme, random_weights=random_weights
        )
    )


def forest_rows(breakdown: Breakdown) -> list[figures.ForestRow]:
    rows = [figures.ForestRow(row.name, row.films, row.auroc) for row in breakdown.findings]
    for name, groups in breakdown.groups.items():
        rows += [figures.ForestRow(f"{GROUPS[name]}: {row.name}", row.films, row.auroc) for row in groups]
    return rows + [figures.ForestRow(f"Normals with {row.name}", row.films, row.auroc) for row in breakdown.normals]
