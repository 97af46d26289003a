"""Average precision and the partial AUROC, which weigh the part of the ranking that a screening test works in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.resampling import NO_SPREAD, Statistic, area_between, resampled
from analysis.statistics.sample import FloatArray, IntArray, Sample, normal_quantile, take_sample

Axis = Literal["specificity", "sensitivity"]


@dataclass(frozen=True)
class Auprc:
    """Average precision with an interval by bootstrap of the patients, on the logit scale; None, with a `reason`,
    where it cannot be computed.

    auprc, low, high in [0, 1]. `prevalence` is the abnormal share of the sample, which is also the average precision of
    uninformative scores: draw it as the reference line. Average precision depends on the prevalence: never compare it
    between samples of different prevalence.
    """

    auprc: float | None
    low: float | None
    high: float | None
    prevalence: float | None
    positives: int
    negatives: int
    left_out: int
    confidence: float
    replicates: int
    seed: int
    reason: str = ""


@dataclass(frozen=True)
class PartialAuc:
    """The AUROC over a range of specificity or of sensitivity, with an interval by bootstrap of the patients.

    partial_auc, low, high are standardised as in McClish 1989: 0.5 for uninformative scores and 1 for perfect ones,
    whatever the range; scores worse than chance can give negative values. `area` is the raw area, in
    [0, range_high − range_low].
    """

    partial_auc: float | None
    low: float | None
    high: float | None
    area: float | None
    of: Axis
    range_low: float
    range_high: float
    positives: int
    negatives: int
    left_out: int
    confidence: float
    replicates: int
    seed: int
    reason: str = ""


def auprc(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Auprc:
    """Average precision of labels (N,) of 0 and 1 and scores (N,), by patients (N,) or None.

    AP = Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores, falling, without interpolation (Davis & Goadrich 2006 explain why a
    straight line between two points of a precision–recall curve is too high). The resamples are those of
    `resampled_weights`: they keep the prevalence of the sample, except for patients with films of both classes. Raises
    ValueError where labels, scores and patients do not match, and for a confidence outside (0, 1).
    """
    sample = take_sample(labels, scores, patients)
    normal_quantile(confidence)
    films = sample.positives + sample.negatives
    result = Auprc(
        auprc=None, low=None, high=None, prevalence=sample.positives / films if films else None,
        positives=sample.positives, negatives=sample.negatives, left_out=sample.left_out,
        confidence=confidence, replicates=replicates, seed=seed,
        reason=_why_undefined(sample, "average precision"),
    )  # fmt: skip
    if result.reason:
        return result
    value, limits, reason = _estimate(
        sample, _average_precision, confidence=confidence, replicates=replicates, seed=seed
    )
    low, high = limits or (None, None)
    return replace(result, auprc=value, low=low, high=high, reason=reason)


def partial_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    of: Axis = "specificity",
    range_low: float = 0.8,
    range_high: float = 1.0,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> PartialAuc:
    """Partial AUROC of labels (N,) of 0 and 1 and scores (N,), by patients (N,) or None.

    The mean height of the ROC curve over a range of specificity, or its mean width over a range of sensitivity,
    standardised as in McClish 1989, Med Decis Making 9:190: ½ (1 + (A − least) / (greatest − least)), `least` being the
    area under the diagonal. Raises ValueError unless 0 ≤ range_low < range_high ≤ 1, where labels, scores and patients
    do not match, and for a confidence outside (0, 1).
    """
    if of not in ("specificity", "sensitivity"):
        raise ValueError(f"of is {of!r}; it must be 'specificity' or 'sensitivity'")
    if not 0.0 <= range_low < range_high <= 1.0:
        raise ValueError(f"the range {range_low} to {range_high} must rise and lie in 0 to 1, such as 0.8 to 1")
    sample = take_sample(labels, scores, patients)
    normal_quantile(confidence)
    result = PartialAuc(
        partial_auc=None, low=None, high=None, area=None, of=of, range_low=range_low, range_high=range_high,
        positives=sample.positives, negatives=sample.negatives, left_out=sample.left_out,
        confidence=confidence, replicates=replicates, seed=seed,
        reason=_why_undefined(sample, "partial AUROC"),
    )  # fmt: skip
    if result.reason:
        return result
    start, end = 1.0 - range_high, 1.0 - range_low  # of the other axis: 1 − specificity, or 1 − sensitivity
    greatest, least = end - start, (end**2 - start**2) / 2

    def share(positive: IntArray, negative: IntArray) -> FloatArray:
        return _partial_area(positive, negative, of=of, start=start, end=end) / greatest

    def standardised(shares: tuple[float, float] | None) -> tuple[float | None, float | None]:
        low, high = ((1 + (a * greatest - least) / (greatest - least)) / 2 for a in shares) if shares else (None, None)
        return low, high

    value, limits, reason = _estimate(sample, share, confidence=confidence, replicates=replicates, seed=seed)
    low, high = standardised(limits)
    middle, _ = standardised((value, value))
    return replace(result, partial_auc=middle, low=low, high=high, area=value * greatest, reason=reason)


def _why_undefined(sample: Sample, what: str) -> str:
    return sample.why_undefined().replace("AUROC", what)


def _estimate(
    sample: Sample, statistic: Statistic, *, confidence: float, replicates: int, seed: int
) -> tuple[float, tuple[float, float] | None, str]:
    """Value, limits and the reason why there are none."""
    reason = sample.why_no_interval()
    value, limits = resampled(
        sample, statistic, confidence=confidence, replicates=2 if reason else replicates, seed=seed
    )
    if reason:
        return value, None, reason
    return value, limits, "" if limits else NO_SPREAD


def _average_precision(positive: IntArray, negative: IntArray) -> FloatArray:
    """(B,) average precision from the counts at or above each threshold, (B, P)."""
    called = positive + negative
    precision = positive / np.maximum(called, 1)
    gained = np.diff(positive, axis=1, prepend=0)
    return np.asarray((gained * precision).sum(axis=1) / positive[:, -1], dtype=np.float64)


def _partial_area(positive: IntArray, negative: IntArray, *, of: Axis, start: float, end: float) -> FloatArray:
    """(B,) raw area. For a range of sensitivity the curve is reversed and its axes are swapped."""
    nothing = np.zeros((len(positive), 1))
    sensitivity = np.concatenate([nothing, positive / positive[:, -1:]], axis=1)
    false_alarms = np.concatenate([nothing, negative / negative[:, -1:]], axis=1)
    if of == "specificity":
        return area_between(false_alarms, sensitivity, low=start, high=end)
    return area_between(1 - sensitivity[:, ::-1], 1 - false_alarms[:, ::-1], low=start, high=end)
