"""A threshold fixed on tune or calibrate, applied to the films of another part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from analysis import statistics
from analysis.evaluation.evaluate import STEPS, ScoredPart
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.score_kinds import calibration_of, nested_tune_scores
from analysis.evaluation.scored_parts import evaluated_part
from analysis.evaluation.thresholds import (
    KINDS,
    ReferenceScores,
    calibration_reference,
    promise_words,
    why_too_few,
)
from analysis.models import Evaluation, ScoreKind
from ml_engine.core.score.conformal import PromisedRate
from portal.labels.events import labels_at
from portal.models import LabelValue, Part


@dataclass(frozen=True)
class OperatingResult:
    """The films of a part at a threshold: those with a score of at least `threshold` are called abnormal.

    If no threshold can be fixed, everything but `point`, `part` and `weight` is None and `reason` says why. `promised`
    is the false-alarm rate that a threshold fixed on calibrate promises for films drawn like its normals, None where
    none is promised; `promise` says either in words.
    """

    point: RequestedPoint
    part: str
    weight: float
    score: str  # a value of ScoreKind
    source: str | None
    reference_films: int
    reference_patients: int
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
    promised: PromisedRate | None = None
    promise: str = ""

    @property
    def specificity_low(self) -> float | None:
        """The lower limit of the promised specificity."""
        return 1 - self.promised.high if self.promised else None

    @property
    def specificity_high(self) -> float | None:
        return 1 - self.promised.low if self.promised else None

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
    sensitivity is fixed on the abnormal films of tune. Patients with several films count once, with the highest score
    of their normal films or the lowest of their abnormal ones. Raises CannotEvaluate when the run's folder is gone.
    """
    reference, reason = _reference(evaluation, scored, weight=weight, rule=point.rule)
    result = OperatingResult(
        point=point, part=scored.part, weight=weight, score=scored.kind,
        source=reference.part if reference.films else None,
        reference_films=reference.films, reference_patients=reference.patients_count, threshold=None, reason=reason,
    )  # fmt: skip
    if not reference.films:
        return result
    if too_few := why_too_few(reference, rule=point.rule, target=point.target):
        return replace(result, reason=too_few)
    scores = scored.scores_at(weight)
    if point.rule == "specificity":
        rates = statistics.sensitivity_at_specificity(
            scored.labels, scores, scored.patients,
            normal_scores=reference.scores, normal_patients=reference.patients, specificity=point.target,
        )  # fmt: skip
    else:
        rates = statistics.specificity_at_sensitivity(
            scored.labels, scores, scored.patients,
            abnormal_scores=reference.scores, abnormal_patients=reference.patients, sensitivity=point.target,
        )  # fmt: skip
    sensitivity, specificity = rates.sensitivity, rates.specificity
    result = replace(result, reason=rates.reason)
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
        promised=reference.promised(point.rule, point.target),
        promise=promise_words(reference, rule=point.rule, target=point.target),
    )


def _reference(evaluation: Evaluation, scored: ScoredPart, *, weight: float, rule: str) -> tuple[ReferenceScores, str]:
    """The scores that fix the threshold, and, if there are none, the reason."""
    if scored.kind == ScoreKind.COMBINED:
        return _reference_of_head(evaluation, scored.part, rule=rule)
    part, label = scored.part, 0 if rule == "specificity" else 1
    at_run_weight = round(weight * STEPS) == round(float(evaluation.metrics["weight"]) * STEPS)
    if rule == "specificity" and at_run_weight:
        held_out = calibration_reference(evaluation.run)
        if held_out.films:
            return held_out, ""
    if part != Part.TUNE:
        tune = evaluated_part(evaluation, Part.TUNE)
        of_label = tune.labels == label
        scores = tune.scores_at(weight)[of_label].astype(np.float64)
        reference = ReferenceScores(scores, Part.TUNE, tune.patients[of_label])
        if reference.films:
            return reference, ""
        return reference, (
            f"No threshold can be fixed: the run scored no {KINDS[rule]} film of tune. Score tune as well."
        )
    nothing = ReferenceScores(np.empty(0), "")
    if rule == "specificity":
        return nothing, (
            "A threshold for tune is never fixed on tune itself; calibration scores exist at the run's weight only."
        )
    return nothing, _NOT_ON_ITSELF


_NOT_ON_ITSELF = "A threshold fixed on tune is not applied to tune itself; choose test."


def _reference_of_head(evaluation: Evaluation, part: str, *, rule: str) -> tuple[ReferenceScores, str]:
    """The combined scores that fix the threshold: of the calibration normals, or of tune by heads without reads of the
    film's patient."""
    nothing = ReferenceScores(np.empty(0), "")
    if rule == "specificity":
        held_out = calibration_of(evaluation.run, ScoreKind.COMBINED)
        if held_out.films:
            return held_out, ""
    if part == Part.TUNE:
        return nothing, _NOT_ON_ITSELF
    scores = nested_tune_scores(evaluation.run)
    labels = labels_at(scores, evaluation.label_cutoff)
    wanted = LabelValue.NORMAL if rule == "specificity" else LabelValue.ABNORMAL
    kept = [row for image, row in scores.items() if image in labels and labels[image].value == wanted]
    if not kept:
        return nothing, f"No threshold can be fixed: the head scored no {KINDS[rule]} film of tune."
    return ReferenceScores(
        np.array([score for score, _ in kept], dtype=np.float64),
        Part.TUNE,
        np.array([patient for _, patient in kept], dtype=np.int64),
    ), ""
