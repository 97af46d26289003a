"""A threshold that tune or calibrate fixed, and what it does to the films of another part."""

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
    """What the threshold does to a part: films called abnormal are those with a score of at least `threshold`.

    Everything but `asked`, `part` and `weight` is None, with a `reason`, where no threshold can be fixed.
    """

    asked: RequestedPoint
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
        return asdict(self)


def apply_operating_point(
    evaluation: Evaluation, scored: ScoredPart, *, weight: float, asked: RequestedPoint
) -> OperatingResult:
    """The films of `scored` at the threshold that `asked` fixes on calibrate, else on tune; never on the same films.

    A specificity is fixed on the calibration normals, as the detector keeps their scores at the run's weight, else on
    the normal films of tune; it is refused where they are too few for it. A sensitivity is fixed on the abnormal films
    of tune. Raises CannotEvaluate where the run's folder is gone.
    """
    reference, source, reason = _reference(evaluation, scored.part, weight=weight, rule=asked.rule)
    reached = OperatingResult(
        asked=asked, part=scored.part, weight=weight,
        source=source if len(reference) else None, reference_films=len(reference), threshold=None, reason=reason,
    )  # fmt: skip
    if not len(reference):
        return reached
    if asked.rule == "specificity" and (few := why_too_few(len(reference), specificity=asked.target, part=source)):
        return replace(reached, reason=few)
    scores = scored.scores_at(weight)
    if asked.rule == "specificity":
        found = statistics.sensitivity_at_specificity(
            scored.labels, scores, scored.patients, normal_scores=reference, specificity=asked.target
        )
    else:
        found = statistics.specificity_at_sensitivity(
            scored.labels, scores, scored.patients, abnormal_scores=reference, sensitivity=asked.target
        )
    sensitivity, specificity = found.sensitivity, found.specificity
    reached = replace(reached, reference_films=found.reference_films, reason=found.reason)
    if sensitivity is None or specificity is None:
        return reached
    return replace(
        reached,
        threshold=found.threshold,
        true_positives=sensitivity.successes,
        false_negatives=sensitivity.total - sensitivity.successes,
        false_positives=specificity.total - specificity.successes,
        true_negatives=specificity.successes,
        sensitivity=sensitivity,
        specificity=specificity,
        predictive=statistics.predictive_values(sensitivity, specificity, prevalence=asked.prevalence),
        left_out=found.left_out,
    )


def _reference(evaluation: Evaluation, part: str, *, weight: float, rule: str) -> tuple[NDArray[np.float64], str, str]:
    """The scores that fix the threshold, their part, and, without any, why there are none."""
    wanted = 0 if rule == "specificity" else 1
    at_run_weight = round(weight * STEPS) == round(float(evaluation.metrics["weight"]) * STEPS)
    if rule == "specificity" and at_run_weight and len(held_out := calibration_scores(evaluation.run)):
        return held_out, Part.CALIBRATE, ""
    if part != Part.TUNE:
        tune = evaluated_part(evaluation, Part.TUNE)
        scores = tune.scores_at(weight)[tune.labels == wanted].astype(np.float64)
        if np.isfinite(scores).any():
            return scores, Part.TUNE, ""
        word = "normal" if rule == "specificity" else "abnormal"
        return scores, "", f"The run scored no {word} film of tune, and calibrate fixes nothing: score tune as well."
    if rule == "specificity":
        reason = "Calibration scores are kept at the run's weight only, and tune fixes no threshold for itself."
        return np.empty(0), "", reason
    return np.empty(0), "", "A threshold fixed on tune says nothing of tune itself; look at test."
