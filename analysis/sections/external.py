"""Internal and external results of a frozen detector side by side, and how the two populations differ."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis import figures, statistics
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.external import external_part, validations_on_the_same, weight_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.evaluation.thresholds import calibration_reference
from analysis.figures.palette import Kind, Theme
from analysis.models import ExternalValidation
from analysis.sections.attributes import GROUPS, groups_of_images
from ml_engine.models import Run
from portal.models import Part

SPECIFICITY = 0.9
DRAWN_POINTS = 1000  # of a curve on the page
IMBALANCE = 0.1  # Austin 2009: a standardised difference above it is commonly called an imbalance


@dataclass(frozen=True)
class PopulationResults:
    """What the detector reaches on one of the two sets, at the threshold that its calibration normals fix."""

    words: str
    normal: int
    abnormal: int
    patients: int
    left_out: dict[str, int]
    weight: float
    auroc: dict[Kind, statistics.Auroc]
    auprc: statistics.Auprc
    rates: statistics.RatesAtTarget
    curve: statistics.RocCurve

    @property
    def prevalence(self) -> float:
        return self.abnormal / (self.normal + self.abnormal)


@dataclass(frozen=True)
class PopulationDifference:
    """An attribute of the films: shares by category, internal and external, and the standardised difference, infinite
    where the two have no category in common, None where it is not known."""

    name: str
    difference: float | None
    categories: tuple[tuple[str, int, int], ...]

    @property
    def words(self) -> str:
        if self.difference is None:
            return "not known"
        return "complete" if math.isinf(self.difference) else f"{self.difference:.2f}"


@dataclass(frozen=True)
class External:
    """`difference` is external minus internal, of the fused score. `validations` counts those on the same datasets."""

    internal: PopulationResults
    external: PopulationResults
    difference: statistics.AurocDifference
    populations: tuple[PopulationDifference, ...]
    validations: int

    @property
    def differing(self) -> str:
        """The attributes out of balance with their standardised differences, greatest first; "" if there is none."""
        out = [row for row in self.populations if row.difference is not None and row.difference > IMBALANCE]
        return ", ".join(
            f"{row.name.lower()} ({row.words})" for row in sorted(out, key=lambda row: -(row.difference or 0))
        )

    def to_json(self) -> dict[str, Any]:
        sides = {}
        for name in ("internal", "external"):
            side = asdict(getattr(self, name))
            del side["curve"]
            sides[name] = side | {"prevalence": getattr(self, name).prevalence}
        return {
            **sides,
            "difference": asdict(self.difference),
            "populations": [
                {
                    "name": row.name,
                    "difference": row.words
                    if row.difference is not None and math.isinf(row.difference)
                    else row.difference,
                    "categories": [
                        {"category": category, "internal": one, "external": other}
                        for category, one, other in row.categories
                    ],
                }
                for row in self.populations
            ],
            "specificity": SPECIFICITY,
            "validations": self.validations,
        }


def compare_external(validation: ExternalValidation, *, whole_curves: bool = False) -> External:
    """`whole_curves` are not thinned. Raises CannotEvaluate when the folder of one of the runs is gone."""
    evaluation = validation.evaluation
    internal_part = evaluated_part(evaluation, Part.TEST)
    other = external_part(validation.run, cutoff=validation.label_cutoff)
    internal = _results(
        evaluation.run,
        internal_part,
        words=f"test part of {evaluation.split.name}",
        weight=float(evaluation.metrics["weight"]),
        most_points=_points(internal_part, whole_curves),
    )
    external = _results(
        validation.run,
        other,
        words=", ".join(dataset.name for dataset in validation.run.datasets.all()),
        weight=weight_of(validation.run),
        most_points=_points(other, whole_curves),
    )
    return External(
        internal=internal,
        external=external,
        difference=statistics.independent_difference(external.auroc["fused"], internal.auroc["fused"]),
        populations=tuple(_populations(internal_part, other)),
        validations=validations_on_the_same(validation),
    )


def draw_external(result: External, *, theme: Theme, random_weights: bool) -> dict[str, Any]:
    """Both ROC curves of the fused score, for Plotly. It names no film."""
    curves = [
        figures.RunCurve(f"{name}, {side.abnormal} abnormal, {side.normal} normal", side.curve, side.auroc["fused"])
        for name, side in (("Internal", result.internal), ("External", result.external))
    ]
    figure = figures.comparison_figure(curves, theme=theme, random_weights=random_weights)
    figure.update_layout(legend_title_text="AUROC of the fused score (95 % interval)")  # each curve says its n
    return figures.as_json(figure)


def _points(scored: ScoredPart, whole: bool) -> int:
    return len(scored.images) + 2 if whole else DRAWN_POINTS


def _results(run: Run, scored: ScoredPart, *, words: str, weight: float, most_points: int) -> PopulationResults:
    fused = scored.scores_at(weight)
    reference = calibration_reference(run)
    kinds: dict[Kind, float] = {"global": 0.0, "region": 1.0, "fused": weight}
    auprc = statistics.auprc(scored.labels, fused, scored.patients)
    return PopulationResults(
        words=words,
        normal=int((scored.labels == 0).sum()),
        abnormal=int((scored.labels == 1).sum()),
        patients=len(np.unique(scored.patients)),
        left_out=scored.left_out,
        weight=weight,
        auroc={
            kind: statistics.auroc_interval(scored.labels, scored.scores_at(at), scored.patients)
            for kind, at in kinds.items()
        },
        auprc=auprc,
        rates=statistics.sensitivity_at_specificity(
            scored.labels, fused, scored.patients,
            normal_scores=reference.scores, normal_patients=reference.patients, specificity=SPECIFICITY,
        ),
        curve=statistics.roc_curve(scored.labels, fused, max_points=most_points),
    )  # fmt: skip


def _populations(internal: ScoredPart, external: ScoredPart) -> list[PopulationDifference]:
    labels = [Counter("abnormal" if label else "normal" for label in part.labels) for part in (internal, external)]
    rows = [_difference("Label", *labels)]
    groups = [groups_of_images(part.images) for part in (internal, external)]
    return rows + [_difference(words, *(Counter(of[name]) for of in groups)) for name, words in GROUPS.items()]


def _difference(name: str, internal: Counter[str], external: Counter[str]) -> PopulationDifference:
    total = internal + external
    return PopulationDifference(
        name=name,
        difference=statistics.difference_of_shares(internal, external),
        categories=tuple((category, internal[category], external[category]) for category, _ in total.most_common()),
    )
