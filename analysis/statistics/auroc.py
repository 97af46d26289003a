"""AUROC with intervals: DeLong, its clustered form, the bootstrap by patient, and the choice between them.

DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837, in O(n log n) as Sun & Xu 2014, IEEE SPL 21:1389.
Clustered: Obuchowski 1997, Biometrics 53:567. Perfect separation: Newcombe 2006, Stat Med 25:559, method 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import (
    FloatArray,
    IntArray,
    Sample,
    normal_quantile,
    resampled_weights,
    take_sample,
)

NEAR_ONE = 0.95  # above it, or below 1 − it, the symmetric interval has too low a coverage
FEW = 50  # patients in a class: with fewer, the interval is computed on the logit scale


@dataclass(frozen=True)
class Auroc:
    """An area under the ROC curve; a field that cannot be computed is None, and `reason` explains why.

    auroc, low, high in [0, 1]; variance of auroc; counts of films and of patients. method of the interval:
    delong | clustered (each "… on the logit scale" near one or with few patients) | newcombe | bootstrap | none.
    """

    auroc: float | None
    variance: float | None
    low: float | None
    high: float | None
    method: str
    positives: int
    negatives: int
    positive_patients: int
    negative_patients: int
    left_out: int
    confidence: float
    reason: str = ""


@dataclass(frozen=True)
class AurocDifference:
    """AUROC of a minus that of b on the same films; p_value is two-sided, of no difference."""

    difference: float | None
    variance: float | None
    low: float | None
    high: float | None
    p_value: float | None
    first: Auroc
    second: Auroc
    reason: str = ""


def delong(labels: ArrayLike, scores: ArrayLike, *, confidence: float = 0.95) -> Auroc:
    """AUROC with DeLong's variance and symmetric interval, clipped to [0, 1]; films are taken as independent.

    labels (N,) of 0 and 1, scores (N,). Prefer `auroc_interval`, which chooses another method where this one fails.
    """
    sample = take_sample(labels, scores)
    return _build(sample, confidence=confidence, method="delong", logit=False)


def auroc_interval(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    logit: bool | None = None,
) -> Auroc:
    """AUROC with the interval that fits the sample; deterministic.

    labels (N,) of 0 and 1, scores (N,), patients (N,) or None. Clustered by patient where a patient has several films,
    DeLong otherwise; on the logit scale near one or with fewer than 50 patients in a class; Newcombe's method on the
    number of patients when the classes separate completely, since every variance estimate is zero there.
    `logit` sets the scale explicitly: for a single column of a `fusion_sweep`, pass the scale of the sweep, since the
    column alone might lead to the other one.
    """
    sample = take_sample(labels, scores, patients)
    return _build(sample, confidence=confidence, method=_method(sample), logit=logit)


def bootstrap_auroc(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Auroc:
    """AUROC with the percentile interval of a bootstrap by patient, stratified as in `resampled_weights`.

    The interval degenerates to 1–1 when the classes separate completely; that of `auroc_interval` does not.
    """
    sample = take_sample(labels, scores, patients)
    normal_quantile(confidence)  # raises outside (0, 1)
    reason = sample.why_undefined() or sample.why_no_interval()
    if reason:
        return _build(sample, confidence=confidence, method="bootstrap", logit=False)
    areas = bootstrap_areas(sample, replicates=replicates, seed=seed)
    low, high = np.quantile(areas, [(1 - confidence) / 2, (1 + confidence) / 2])
    area = float(areas_of(sample)[0])
    return _result(
        sample,
        area=area,
        variance=float(np.var(areas, ddof=1)),
        limits=(float(low), float(high)),
        method="bootstrap",
        confidence=confidence,
    )


def delong_paired(
    labels: ArrayLike,
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> AurocDifference:
    """Difference of two AUROCs on the same films (N,), clustered by patient where a patient has several films.

    A film without a finite score in both is left out. The variance is that of the difference of the placements, which
    includes DeLong's covariance.
    """
    both = np.stack([np.asarray(first_scores, float), np.asarray(second_scores, float)], axis=-1)
    sample = take_sample(labels, both, patients)
    first, second = (
        _build(_column(sample, k), confidence=confidence, method=_method(sample), logit=None) for k in (0, 1)
    )
    result = AurocDifference(
        difference=None, variance=None, low=None, high=None, p_value=None, first=first, second=second,
        reason=first.reason or second.reason,
    )  # fmt: skip
    if first.auroc is None or second.auroc is None:
        return result
    difference = first.auroc - second.auroc
    if result.reason:
        return replace(result, difference=difference)
    positive, negative = placements(sample)
    variance = float(
        clustered_variance(sample, positive[:, :1] - positive[:, 1:], negative[:, :1] - negative[:, 1:])[0]
    )
    return with_interval(result, difference, variance, confidence=confidence)


def with_interval(result: AurocDifference, difference: float, variance: float, *, confidence: float) -> AurocDifference:
    """The result with the difference, its variance, an interval of normal theory clipped to [−1, 1], and a two-sided
    p-value. Raises ValueError for a confidence outside (0, 1)."""
    half = normal_quantile(confidence) * math.sqrt(variance)
    return replace(
        result,
        difference=difference,
        variance=variance,
        low=max(-1.0, difference - half),
        high=min(1.0, difference + half),
        p_value=_two_sided_p(difference, variance),
    )


def placements(sample: Sample) -> tuple[FloatArray, FloatArray]:
    """V10 (positives, K) and V01 (negatives, K), in [0, 1]: the share of the films of the other class that each film
    is ranked correctly against, ties counting half. The mean of either is the AUROC. They are Sun & Xu's mid-ranks,
    computed by binary search in the sorted scores of the other class.
    """
    positive = sample.scores[sample.abnormal]
    negative = sample.scores[~sample.abnormal]
    beats = np.empty_like(positive)
    beaten_by = np.empty_like(negative)
    for k in range(positive.shape[1]):
        beats[:, k] = _share_below(positive[:, k], negative[:, k])
        beaten_by[:, k] = 1.0 - _share_below(negative[:, k], positive[:, k])
    return beats, beaten_by


def _share_below(values: FloatArray, others: FloatArray) -> FloatArray:
    order = np.argsort(values)
    queries, ranked = values[order], np.sort(others)  # sorted queries make the search cache-friendly
    twice = ranked.searchsorted(queries, "left") + ranked.searchsorted(queries, "right")
    shares = np.empty_like(values)
    shares[order] = twice / (2.0 * len(ranked))
    return shares


def areas_of(sample: Sample) -> FloatArray:
    """(K,) AUROC of each score column; needs both classes."""
    return np.asarray(placements(sample)[0].mean(axis=0), dtype=np.float64)


def clustered_variance(sample: Sample, positive: FloatArray, negative: FloatArray) -> FloatArray:
    """(K,) variance of the mean placement from V10 (positives, K) and V01 (negatives, K).

    Obuchowski 1997: S10/M + S01/N + 2·S11/(M·N), summed by patient. With one film for each patient, S11 is zero and the
    rest is DeLong's variance, so that one function serves both. Needs two patients in each class. Clipped at zero: with
    very few patients a negative S11 can make the sum negative.
    """
    patients = int(sample.patients.max()) + 1
    codes10, codes01 = sample.patients[sample.abnormal], sample.patients[~sample.abnormal]
    films10, films01 = len(codes10), len(codes01)
    from_positive = sums_by_patient(positive - positive.mean(axis=0), codes10, patients)
    from_negative = sums_by_patient(negative - negative.mean(axis=0), codes01, patients)
    n10, n01 = sample.positive_patients, sample.negative_patients
    n = len(np.unique(sample.patients))
    s10 = n10 / ((n10 - 1) * films10) * (from_positive**2).sum(axis=0)
    s01 = n01 / ((n01 - 1) * films01) * (from_negative**2).sum(axis=0)
    s11 = n / (n - 1) * (from_positive * from_negative).sum(axis=0)
    variance: FloatArray = s10 / films10 + s01 / films01 + 2 * s11 / (films10 * films01)
    return np.maximum(variance, 0.0, out=variance)


def clustered_covariance(sample: Sample, positive: FloatArray, negative: FloatArray) -> FloatArray:
    """(K, K) covariances of the mean placements from V10 (positives, K) and V01 (negatives, K); the diagonal is
    `clustered_variance` without the clip at zero. With one film for each patient it is DeLong's matrix.
    """
    patients = int(sample.patients.max()) + 1
    codes10, codes01 = sample.patients[sample.abnormal], sample.patients[~sample.abnormal]
    from_positive = sums_by_patient(positive - positive.mean(axis=0), codes10, patients) / len(codes10)
    from_negative = sums_by_patient(negative - negative.mean(axis=0), codes01, patients) / len(codes01)
    n10, n01 = sample.positive_patients, sample.negative_patients
    n = len(np.unique(sample.patients))
    both = from_positive.T @ from_negative
    covariance: FloatArray = (
        n10 / (n10 - 1) * (from_positive.T @ from_positive)
        + n01 / (n01 - 1) * (from_negative.T @ from_negative)
        + n / (n - 1) * (both + both.T)
    )
    return covariance


def sums_by_patient(values: FloatArray, codes: IntArray, patients: int) -> FloatArray:
    """(patients, K) sums of the values (N, K) of each patient code (N,)."""
    sums = np.empty((patients, values.shape[1]))
    for k in range(values.shape[1]):
        sums[:, k] = np.bincount(codes, weights=values[:, k], minlength=patients)
    return sums


def bootstrap_areas(sample: Sample, *, replicates: int, seed: int) -> FloatArray:
    """(replicates,) AUROC of the sample's first score column in each resample of the patients."""
    order = np.argsort(sample.scores[:, 0], kind="stable")
    scores, abnormal = sample.scores[order, 0], sample.abnormal[order]
    starts = np.flatnonzero(np.r_[True, scores[1:] > scores[:-1]])  # of each distinct score
    areas = []
    for weights in resampled_weights(sample, replicates=replicates, seed=seed):
        weights = weights[:, order]
        positive = np.add.reduceat(weights * abnormal, starts, axis=1)
        negative = np.add.reduceat(weights * ~abnormal, starts, axis=1)
        twice_below = 2 * negative.cumsum(axis=1) - negative  # ties half
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        areas.append((positive * twice_below).sum(axis=1) / (2.0 * pairs))
    return np.concatenate(areas)


def interval(
    area: FloatArray, variance: FloatArray, *, confidence: float, logit: bool, sizes: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper limits (K,) of areas (K,) with variances (K,); `sizes` are the numbers of patients in each
    class, used where the variance is zero."""
    z = normal_quantile(confidence)
    error = np.sqrt(variance)
    low, high = np.clip(area - z * error, 0.0, 1.0), np.clip(area + z * error, 0.0, 1.0)
    inside = (area > 0.0) & (area < 1.0)
    if logit and inside.any():
        a = area[inside]
        centre, half = np.log(a / (1 - a)), z * error[inside] / (a * (1 - a))
        low[inside] = 1 / (1 + np.exp(-(centre - half)))
        high[inside] = 1 / (1 + np.exp(-(centre + half)))
    for k in np.flatnonzero(variance <= 0.0):
        low[k], high[k] = _newcombe(float(area[k]), sizes=sizes, z=z)
    return low, high


def _newcombe(area: float, *, sizes: tuple[int, int], z: float) -> tuple[float, float]:
    """The two values θ that lie z standard errors from the area, with the error taken at θ: Hanley & McNeil's with
    both class sizes replaced by their mean (Newcombe 2006, method 5). By bisection, to 1e-12."""
    m, n = sizes
    mean_size = (m + n) / 2

    def is_excluded(theta: float) -> bool:
        shape = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) * (1 + (mean_size - 1) * shape) / (m * n)
        return abs(area - theta) > z * math.sqrt(variance)

    def limit(end: float) -> float:
        inside, outside = area, end
        while abs(inside - outside) > 1e-12:
            middle = (inside + outside) / 2
            if is_excluded(middle):
                outside = middle
            else:
                inside = middle
        return inside

    return limit(0.0), limit(1.0)


def needs_logit(sample: Sample, areas: FloatArray) -> bool:
    """Whether the intervals of areas (K,) need the logit scale: one scale for all K."""
    few = min(sample.positive_patients, sample.negative_patients) < FEW
    return few or bool(np.abs(areas - 0.5).max() > NEAR_ONE - 0.5)


def _build(sample: Sample, *, confidence: float, method: str, logit: bool | None) -> Auroc:
    reason = sample.why_undefined()
    if reason:
        return _result(sample, area=None, confidence=confidence, reason=reason)
    positive, negative = placements(sample)
    areas = np.asarray(positive.mean(axis=0), dtype=np.float64)
    reason = sample.why_no_interval()
    if reason:
        return _result(sample, area=float(areas[0]), confidence=confidence, reason=reason)
    variance = clustered_variance(sample, positive, negative)
    if logit is None:
        logit = needs_logit(sample, areas)
    if variance[0] <= 0.0:
        method = "newcombe"
    elif logit:
        method += " on the logit scale"
    sizes = (sample.positive_patients, sample.negative_patients)
    low, high = interval(areas, variance, confidence=confidence, logit=logit, sizes=sizes)
    return _result(
        sample,
        area=float(areas[0]),
        variance=float(variance[0]),
        limits=(float(low[0]), float(high[0])),
        method=method,
        confidence=confidence,
    )


def _result(
    sample: Sample,
    *,
    area: float | None,
    confidence: float,
    variance: float | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    method: str = "none",
    reason: str = "",
) -> Auroc:
    return Auroc(
        auroc=area,
        variance=variance,
        low=limits[0],
        high=limits[1],
        method=method,
        positives=sample.positives,
        negatives=sample.negatives,
        positive_patients=sample.positive_patients,
        negative_patients=sample.negative_patients,
        left_out=sample.left_out,
        confidence=confidence,
        reason=reason,
    )


def _method(sample: Sample) -> str:
    return "clustered" if sample.repeats_patients else "delong"


def _column(sample: Sample, k: int) -> Sample:
    return Sample(sample.abnormal, sample.scores[:, k : k + 1], sample.patients, sample.films, sample.left_out)


def _two_sided_p(difference: float, variance: float) -> float:
    if variance > 0.0:
        return 2 * NormalDist().cdf(-abs(difference) / math.sqrt(variance))
    return 1.0 if difference == 0.0 else 0.0
