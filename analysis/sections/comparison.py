"""A comparison of two to six evaluated runs, on the films that all of them scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.analysis_plan import DeclaredComparisons, current_plan, declared
from analysis.evaluation.evaluate import ScoredPart, parts_of, scored_part
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.operating_points import apply_operating_point
from analysis.models import Evaluation
from analysis.sections.attributes import attributes_of
from portal.models import Part

LEAST, MOST = 2, 6
SEED = "seed"
SIDES = {
    "found": "Abnormal, found by {other} only",
    "lost": "Abnormal, found by {first} only",
    "alarms_gone": "Normal, called abnormal by {first} only",
    "alarms_new": "Normal, called abnormal by {other} only",
}
SPECIFICITY = 0.8  # of the thresholds for changed calls; 0.9 needs more normal films than small sets have


class CannotCompare(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class Changed:
    """The films that a run calls differently from the first one, each at its own threshold for the same specificity."""

    threshold_first: float
    threshold_second: float
    found: list[str]  # abnormal, called by the second only
    lost: list[str]  # abnormal, called by the first only
    alarms_gone: list[str]  # normal, called by the first only
    alarms_new: list[str]

    def without(self, images: Collection[str]) -> Changed:
        """The same without these films."""

        def kept(films: list[str]) -> list[str]:
            return [film for film in films if film not in images]

        return replace(
            self,
            found=kept(self.found),
            lost=kept(self.lost),
            alarms_gone=kept(self.alarms_gone),
            alarms_new=kept(self.alarms_new),
        )


@dataclass(frozen=True)
class ComparedRun:
    """One run: its AUROC on the common films, and its difference from the first run's, None for the first itself.

    `declared`: whether the analysis plan names this comparison. adjusted_p_value is adjusted after Holm: a declared
    comparison among all that the plan declares, any other among all that are shown.
    """

    evaluation: Evaluation
    weight: float
    auroc: statistics.Auroc
    difference: statistics.AurocDifference | None = None
    declared: bool = False
    adjusted_p_value: float | None = None
    findings: tuple[statistics.Finding, ...] = ()
    changed: Changed | None = None  # from the first run; None for the first, and where either has no threshold


@dataclass(frozen=True)
class Comparison:
    """The N films are those that all K runs scored, labelled normal or abnormal at the first evaluation's cut-off.
    images: (N); labels: (N,) int8; scores: (K, N); left_out: for each run, its films that another run lacks."""

    part: str
    rows: tuple[ComparedRun, ...]
    images: list[str]
    labels: NDArray[np.int8]
    scores: NDArray[np.float64]
    left_out: tuple[int, ...]
    settings: dict[str, list[Any]]
    seeds: statistics.Spread | None

    @property
    def changed(self) -> Changed | None:
        """Of two runs."""
        return self.rows[1].changed if len(self.rows) == LEAST else None


def default_part(evaluations: Sequence[Evaluation]) -> str:
    """The part that is compared unless another is asked for: the first that all were evaluated on, as on the page of an
    evaluation; tune where there is none, which `compare` refuses."""
    every = [parts_of(evaluation) for evaluation in evaluations]
    return next((part for part in every[0] if all(part in parts for parts in every)), Part.TUNE) if every else Part.TUNE


def compare(evaluations: Sequence[Evaluation], *, part: str, reference: Evaluation | None = None) -> Comparison:
    """Compare the other runs with the reference, in their order. Unless one is named, it is that of the primary
    detector of the split's analysis plan on test, if it is among them, and otherwise the first.

    Raises CannotCompare for another number of runs, for a reference that is none of them, for a part that a run was not
    evaluated on, and if the runs have no film in common; CannotEvaluate when a run's folder is gone.
    """
    if reference is not None and reference not in evaluations:
        raise CannotCompare(f"The reference {reference.run.name!r} is none of the runs compared; choose one of them.")
    if not LEAST <= len(evaluations) <= MOST:
        raise CannotCompare(f"{len(evaluations)} runs are chosen; choose {LEAST} to {MOST}.")
    for evaluation in evaluations:
        if part not in parts_of(evaluation):
            raise CannotCompare(
                f"The run {evaluation.run.name!r} was not evaluated on {part}; leave it out or score {part}."
            )
    plan = declared(current_plan(evaluations[0].split)) if part == Part.TEST else None
    if reference is not None:
        evaluations = [reference, *(evaluation for evaluation in evaluations if evaluation != reference)]
    else:
        evaluations = _primary_first(evaluations, plan)
    is_declared = _declared(evaluations, plan)
    cutoff = evaluations[0].label_cutoff
    parts = [scored_part(evaluation.run, part=part, cutoff=cutoff) for evaluation in evaluations]
    common = set(parts[0].images).intersection(*(scored.images for scored in parts[1:]))
    if not common:
        raise CannotCompare(f"No film of {part} was scored by all {len(evaluations)} runs; choose runs of one split.")
    left_out = tuple(len(scored.images) - len(common) for scored in parts)
    parts = [_only(scored, common, like=parts[0]) for scored in parts]
    weights = [float(evaluation.metrics["weight"]) for evaluation in evaluations]
    scores = np.stack([scored.scores_at(weight) for scored, weight in zip(parts, weights, strict=True)]).astype(
        np.float64
    )
    findings = attributes_of(parts[0], cutoff=cutoff).findings
    labels, patients = parts[0].labels, parts[0].patients
    changed = _changed(evaluations, parts, weights)
    rows = [
        ComparedRun(
            evaluation,
            weight,
            statistics.auroc_interval(labels, own, patients),
            statistics.delong_paired(labels, own, scores[0], patients) if k else None,
            declared=is_declared[k],
            findings=statistics.finding_aurocs(labels, own, findings, patients),
            changed=changed[k],
        )
        for k, (evaluation, weight, own) in enumerate(zip(evaluations, weights, scores, strict=True))
    ]
    settings = settings_that_differ(evaluations)
    spread = statistics.spread_over_seeds([row.auroc.auroc for row in rows])
    return Comparison(
        part=part,
        rows=_adjusted(rows, planned=len(plan.compared) if plan and any(is_declared) else 0),
        images=parts[0].images,
        labels=labels,
        scores=scores,
        left_out=left_out,
        settings=settings,
        seeds=spread if list(settings) == [SEED] else None,
    )


def settings_that_differ(evaluations: Sequence[Evaluation]) -> dict[str, list[Any]]:
    """Setting -> its value in each run, for the settings that differ."""
    flat = [_flat(evaluation.run.detector.run.config if evaluation.run.detector else {}) for evaluation in evaluations]
    names = sorted({name for config in flat for name in config})
    table = {name: [config.get(name) for config in flat] for name in names}
    return {name: values for name, values in table.items() if any(value != values[0] for value in values)}


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in config.items() if not isinstance(value, dict)}
    nested = {
        f"{name}.{inner}": value
        for name, inside in config.items()
        if isinstance(inside, dict)
        for inner, value in inside.items()
    }
    return plain | nested


def _only(scored: ScoredPart, common: set[str], *, like: ScoredPart) -> ScoredPart:
    """The common films, in the order of `like`."""
    at = {image: row for row, image in enumerate(scored.images)}
    images = [image for image in like.images if image in common]
    rows = [at[image] for image in images]
    return ScoredPart(
        part=scored.part,
        images=images,
        labels=scored.labels[rows],
        patients=scored.patients[rows],
        sweep=np.asarray(scored.sweep[rows]),
        left_out=scored.left_out,
        rows=scored.rows[rows],
    )


def _primary_first(evaluations: Sequence[Evaluation], plan: DeclaredComparisons | None) -> list[Evaluation]:
    """The evaluation of the plan's primary detector first, if it is among them."""
    return sorted(evaluations, key=lambda evaluation: plan is None or _fit_run(evaluation) != plan.primary)


def _fit_run(evaluation: Evaluation) -> UUID | None:
    """The run that fitted the detector, by which a plan names it."""
    return evaluation.run.detector.run.uuid if evaluation.run.detector else None


def _declared(evaluations: Sequence[Evaluation], plan: DeclaredComparisons | None) -> list[bool]:
    """Which runs the plan compares with the first."""
    if plan is None or _fit_run(evaluations[0]) != plan.primary:
        return [False] * len(evaluations)
    return [_fit_run(evaluation) in plan.compared for evaluation in evaluations]


def _adjusted(rows: Sequence[ComparedRun], *, planned: int) -> tuple[ComparedRun, ...]:
    """Declared comparisons are corrected only for each other, whether shown or not; that is the benefit of declaring
    them. Any other p-value is corrected for all comparisons that are shown."""
    raw = {k: row.difference.p_value for k, row in enumerate(rows) if row.difference}
    tested = {k: p for k, p in raw.items() if p is not None}
    among_all = dict(zip(tested, statistics.holm(list(tested.values())), strict=True))
    own = [k for k in tested if rows[k].declared]
    unseen = [1.0] * (planned - len(own))  # those not shown: p = 1 makes the correction conservative
    among_own = dict(zip(own, statistics.holm([*(tested[k] for k in own), *unseen]), strict=False))
    adjusted = {**among_all, **among_own}
    return tuple(
        replace(row, adjusted_p_value=float(adjusted[k])) if k in adjusted else row for k, row in enumerate(rows)
    )


def _changed(
    evaluations: Sequence[Evaluation], parts: Sequence[ScoredPart], weights: Sequence[float]
) -> list[Changed | None]:
    """For each run, None for the first and where it or the first has no threshold."""
    point = RequestedPoint(target=SPECIFICITY)
    thresholds = [
        apply_operating_point(evaluation, scored, weight=weight, point=point).threshold
        for evaluation, scored, weight in zip(evaluations, parts, weights, strict=True)
    ]
    called = [
        None if at is None else scored.scores_at(weight) >= at
        for scored, weight, at in zip(parts, weights, thresholds, strict=True)
    ]
    images, abnormal = np.array(parts[0].images), parts[0].labels == 1

    def between(k: int) -> Changed | None:
        first, second = called[0], called[k]
        own, other = thresholds[0], thresholds[k]
        if k == 0 or first is None or second is None or own is None or other is None:
            return None

        def named(which: NDArray[np.bool_]) -> list[str]:
            return [str(image) for image in images[which]]

        only_first, only_second = first & ~second, second & ~first
        return Changed(
            own,
            other,
            found=named(only_second & abnormal),
            lost=named(only_first & abnormal),
            alarms_gone=named(only_first & ~abnormal),
            alarms_new=named(only_second & ~abnormal),
        )

    return [between(k) for k in range(len(evaluations))]
