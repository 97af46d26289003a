"""A threshold fixed on tune or calibrate, applied to the films of another part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import STEPS, ScoredPart
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.scored_parts import evaluated_part
from analysis.evaluation.thresholds import calibration_scores, why_too_few
from analysis.models import Evaluation
from portal.models import Part


@dataclass(frozen=True)
class OperatingResult:
    """The films of a part at a threshold: those with a score of at least `threshold` are called abnormal.

    If no threshold can be fixed, everything but `point`, `part` and `weight` is None and `reason` says why.
    """

    point: RequestedPoint
    part: str
    weight: float
    source: str | None
    reference_films: int
    threshold: float | None
    true_positives: int | None = None
    false_negatives: int | None = None
    false_positives: int | None = None
    true_negatives: int | None = None
    sensitivity: statistics.Rate | None = None
    specificity: statistics.Rate | None = None
    predictive: statistics.PredictiveValues | None = None
    left_out: int = 0
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """Plain values. The API calls the requested point `asked`."""
        values = asdict(self)
        return {"asked": values.pop("point"), **values}


def apply_operating_point(
    evaluation: Evaluation, scored: ScoredPart, *, weight: float, point: RequestedPoint
) -> OperatingResult:
    """The films of `scored` at the threshold of `point`, which is never fixed on these films themselves.

    A specificity is fixed on the calibration normals if `weight` is the run's weight, for which the detector keeps
    their scores, and otherwise on the normal films of tune; there is no threshold if they are too few for it. A
    sensitivity is fixed on the abnormal films of tune. Raises CannotEvaluate when the run's folder is gone.
    """
    reference, source, reason = _reference(evaluation, scored.part, weight=weight, rule=point.rule)
    result = OperatingResult(
        point=point, part=scored.part, weight=weight,
        source=source if len(reference) else None, reference_films=len(reference), threshold=None, reason=reason,
    )  # fmt: skip
    if not len(reference):
        return result
    if point.rule == "specificity" and (too_few := why_too_few(len(reference), specificity=point.target, part=source)):
        return replace(result, reason=too_few)
    scores = scored.scores_at(weight)
    if point.rule == "specificity":
        rates = statistics.sensitivity_at_specificity(
            scored.labels, scores, scored.patients, normal_scores=reference, specificity=point.target
        )
    else:
        rates = statistics.specificity_at_sensitivity(
            scored.labels, scores, scored.patients, abnormal_scores=reference, sensitivity=point.target
        )
    sensitivity, specificity = rates.sensitivity, rates.specificity
    result = replace(result, reference_films=rates.reference_films, reason=rates.reason)
    if sensitivity is None or specificity is None:
        return result
    return replace(
        result,
        threshold=rates.threshold,
        true_positives=sensitivity.successes,
        false_negatives=sensitivity.total - sensitivity.successes,
        false_positives=specificity.total - specificity.successes,
        true_negatives=specificity.successes,
        sensitivity=sensitivity,
        specificity=specificity,
        predictive=statistics.predictive_values(sensitivity, specificity, prevalence=point.prevalence),
        left_out=rates.left_out,
    )


def _reference(evaluation: Evaluation, part: str, *, weight: float, rule: str) -> tuple[NDArray[np.float64], str, str]:
    """The scores that fix the threshold, their part, and, if there are none, the reason."""
    label = 0 if rule == "specificity" else 1
    at_run_weight = round(weight * STEPS) == round(float(evaluation.metrics["weight"]) * STEPS)
    if rule == "specificity" and at_run_weight and len(held_out := calibration_scores(evaluation.run)):
        return held_out, Part.CALIBRATE, ""
    if part != Part.TUNE:
        tune = evaluated_part(evaluation, Part.TUNE)
        scores = tune.scores_at(weight)[tune.labels == label].astype(np.float64)
        if np.isfinite(scores).any():
            return scores, Part.TUNE, ""
        word = "normal" if rule == "specificity" else "abnormal"
        return scores, "", f"No threshold can be fixed: the run scored no {word} film of tune. Score tune as well."
    if rule == "specificity":
        reason = (
            "A threshold for tune is never fixed on tune itself; calibration scores exist at the run's weight only."
        )
        return np.empty(0), "", reason
    return np.empty(0), "", "A threshold fixed on tune is not applied to tune itself; choose test."
