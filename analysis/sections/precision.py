"""Measures of a screening test besides the AUROC: average precision, partial AUROC at high specificity, and rates at
thresholds fixed on calibrate or tune."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from analysis import figures, statistics
from analysis.evaluation.disk_cache import cached
from analysis.evaluation.evaluate import STEPS, ScoredPart, aurocs, sweep_of
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.operating_points import OperatingResult, apply_operating_point
from analysis.figures.palette import Kind, Theme
from analysis.models import Evaluation

LEAST_SPECIFICITY = 0.8  # of the partial AUROC: 1 − specificity up to 0.2
POINTS = (("specificity", 0.9), ("specificity", 0.95), ("sensitivity", 0.95))


@dataclass(frozen=True)
class Precision:
    """At a fusion weight: AUROC, the same with a bootstrap's interval, average precision and partial AUROC by kind of
    score, and `POINTS` of fused."""

    part: str
    weight: float
    auroc: dict[Kind, statistics.Auroc]
    bootstrap: dict[Kind, statistics.Auroc]
    auprc: dict[Kind, statistics.Auprc]
    partial_auc: dict[Kind, statistics.PartialAuc]
    points: tuple[OperatingResult, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"points": [point.to_json() for point in self.points]}


def precision_of(evaluation: Evaluation, scored: ScoredPart, *, weight: float) -> Precision:
    """Intervals by bootstrap of the patients. Raises CannotEvaluate when the run's folder is gone."""

    def compute() -> dict[str, Any]:
        areas: dict[str, Any] = {"auprc": {}, "partial_auc": {}}
        for kind, at in _weights(weight).items():
            films = scored.labels, scored.scores_at(at), scored.patients
            areas["auprc"][kind] = asdict(statistics.auprc(*films))
            areas["partial_auc"][kind] = asdict(statistics.partial_auc(*films, range_low=LEAST_SPECIFICITY))
        return areas

    at = f"{scored.part}-{round(weight * STEPS):03}"
    areas = cached(evaluation, f"precision-{at}", content=scored.digest, compute=compute)
    return Precision(
        part=scored.part,
        weight=weight,
        auroc=aurocs(scored, sweep_of(scored), weight=weight),
        bootstrap=_bootstrapped(evaluation, scored, at, weight=weight),
        auprc={kind: statistics.Auprc(**areas["auprc"][kind]) for kind in _weights(weight)},
        partial_auc={kind: statistics.PartialAuc(**areas["partial_auc"][kind]) for kind in _weights(weight)},
        points=tuple(
            apply_operating_point(evaluation, scored, weight=weight, point=RequestedPoint(rule=rule, target=target))
            for rule, target in POINTS
        ),
    )


def _bootstrapped(
    evaluation: Evaluation, scored: ScoredPart, name: str, *, weight: float
) -> dict[Kind, statistics.Auroc]:
    """AUROCs with the percentile interval of 2,000 resamples of the patients."""

    def compute() -> dict[str, Any]:
        return {
            kind: asdict(statistics.bootstrap_auroc(scored.labels, scored.scores_at(at), scored.patients))
            for kind, at in _weights(weight).items()
        }

    stored = cached(evaluation, f"bootstrap-{name}", content=scored.digest, compute=compute)
    return {kind: statistics.Auroc(**stored[kind]) for kind in _weights(weight)}


def precision_figure(
    precision: Precision, scored: ScoredPart, *, shown: list[str | None], theme: Theme, random_weights: bool
) -> dict[str, Any]:
    """The precision–recall figure, for Plotly; `shown` are the films' ids, None for a hidden film."""
    curves = [
        figures.PrecisionCurve(
            kind, statistics.precision_recall(scored.labels, scored.scores_at(at)), precision.auprc[kind]
        )
        for kind, at in _weights(precision.weight).items()
    ]
    return figures.as_json(
        figures.precision_figure(curves, image_ids=shown, theme=theme, random_weights=random_weights)
    )


def _weights(weight: float) -> dict[Kind, float]:
    return {"global": 0.0, "region": 1.0, "fused": weight}
