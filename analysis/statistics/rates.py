"""Rates at a threshold chosen on another sample, with exact or Wilson limits, clustered by patient where needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.counts import wilson_limits
from analysis.statistics.sample import BoolArray, IntArray, Sample, normal_quantile, take_sample
from ml_engine.core.score import conformal

Method = Literal["wilson", "exact"]


@dataclass(frozen=True)
class Rate:
    """successes of total films; value, low, high in [0, 1], or None with a `reason`.

    effective_total is the number of independent films with the same variance: `total` where each patient has one film.
    """

    successes: int
    total: int
    patients: int
    effective_total: float | None
    value: float | None
    low: float | None
    high: float | None
    method: Method
    confidence: float
    reason: str = ""


@dataclass(frozen=True)
class RatesAtTarget:
    """Sensitivity and specificity in this sample at the threshold that reaches `target` in another sample.

    A film is called abnormal when its score is at least `threshold`. reference_films counts the scores of the other
    sample, and reference_patients its patients; where they are too few, threshold and rates are None, with a `reason`.
    """

    target: float
    threshold: float | None
    reference_films: int
    reference_patients: int
    sensitivity: Rate | None
    specificity: Rate | None
    left_out: int
    reason: str = ""


def exact_limits(successes: float, total: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper & Pearson's 1934 limits of a proportion, each tail at most (1 − confidence) / 2; 0 and 1 if total is 0.

    Quantiles of Beta(x, n − x + 1) and Beta(x + 1, n − x); x and n may be fractional, such as an effective sample size.
    Raises ValueError unless 0 ≤ successes ≤ total, and for a confidence outside (0, 1).
    """
    from scipy.special import betaincinv

    if not 0 <= successes <= total:
        raise ValueError(f"{successes} of {total} is not a proportion; successes must lie between 0 and the total")
    normal_quantile(confidence)
    tail = (1 - confidence) / 2
    low = betaincinv(successes, total - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, total - successes, 1 - tail) if successes < total else 1.0
    return float(low), float(high)


def clustered_rate(
    successes: ArrayLike, patients: ArrayLike | None = None, *, method: Method = "wilson", confidence: float = 0.95
) -> Rate:
    """The share of successes (N,) of 0 and 1, with patients (N,); without patients, each film is its own patient.

    Where a patient has several films, the variance is that of the ratio estimator by patient, m/(m−1) Σ (xᵢ − p nᵢ)² /
    N² over m patients (Rao & Scott 1992, Biometrics 48:577), and the limits are Wilson's or Clopper & Pearson's with
    the effective number p(1 − p) / variance (Korn & Graubard 1998, Surv Methodol 24:193, without their adjustment of
    the degrees of freedom), at most N. A share of 0 or 1 has no variance: then each patient counts as one film. Raises
    ValueError for another method, where successes and patients do not match, and for a confidence outside (0, 1).
    """
    sample = take_sample(successes, np.zeros(len(np.asarray(successes))), patients)
    return _rate(sample.abnormal, sample.patients, method=method, confidence=confidence)


def threshold_at_specificity(
    normal_scores: ArrayLike, *, specificity: float, patients: ArrayLike | None = None
) -> float | None:
    """The lowest threshold that promises to call at most 1 − specificity of new normal patients abnormal, from the
    scores (N,) of normal films: split conformal.

    Each patient of `patients` (N,) counts with the highest score; without patients each film is its own. The threshold
    lies just above the k-th smallest of the P patients' scores, k = ⌈specificity · (P + 1)⌉, since a film at the
    threshold is called. Scores that are not finite are left out; None where k > P. Raises ValueError unless
    0 < specificity ≤ 1.
    """
    _refuse_target("specificity", specificity)
    ranked = conformal.highest_by_patient(normal_scores, patients)
    k = conformal.rank(specificity, len(ranked))
    return None if k is None else float(np.nextafter(ranked[k - 1], np.inf))


def threshold_at_sensitivity(
    abnormal_scores: ArrayLike, *, sensitivity: float, patients: ArrayLike | None = None
) -> float | None:
    """The highest threshold that promises to call at least `sensitivity` of new abnormal patients abnormal: the k-th
    highest score, k = ⌈sensitivity · (P + 1)⌉, where each patient counts with the lowest score of its films. Otherwise
    as `threshold_at_specificity`."""
    _refuse_target("sensitivity", sensitivity)
    ranked = conformal.highest_by_patient(-np.asarray(abnormal_scores, dtype=np.float64), patients)
    k = conformal.rank(sensitivity, len(ranked))
    return None if k is None else float(-ranked[k - 1])


def sensitivity_at_specificity(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    normal_scores: ArrayLike,
    normal_patients: ArrayLike | None = None,
    specificity: float = 0.9,
    method: Method = "wilson",
    confidence: float = 0.95,
) -> RatesAtTarget:
    """Sensitivity, and the specificity actually reached, of labels (N,) of 0 and 1 and scores (N,) at the threshold
    that `normal_scores` (R,) of `normal_patients` (R,) fix for `specificity`: the normal films of calibrate or tune,
    never these films.

    The intervals are those of `clustered_rate` and treat the threshold as fixed. Raises ValueError as
    `threshold_at_specificity` and `clustered_rate` do.
    """
    threshold = threshold_at_specificity(normal_scores, specificity=specificity, patients=normal_patients)
    sample = take_sample(labels, scores, patients)
    return _at_target(
        sample, threshold, target=specificity, reference=normal_scores, reference_patients=normal_patients,
        word="normal", method=method, confidence=confidence,
    )  # fmt: skip


def specificity_at_sensitivity(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    abnormal_scores: ArrayLike,
    abnormal_patients: ArrayLike | None = None,
    sensitivity: float = 0.95,
    method: Method = "wilson",
    confidence: float = 0.95,
) -> RatesAtTarget:
    """As `sensitivity_at_specificity`, at the threshold that `abnormal_scores` (R,) of `abnormal_patients` (R,), the
    abnormal films of tune, fix for `sensitivity`."""
    threshold = threshold_at_sensitivity(abnormal_scores, sensitivity=sensitivity, patients=abnormal_patients)
    sample = take_sample(labels, scores, patients)
    return _at_target(
        sample, threshold, target=sensitivity, reference=abnormal_scores, reference_patients=abnormal_patients,
        word="abnormal", method=method, confidence=confidence,
    )  # fmt: skip


def _at_target(
    sample: Sample, threshold: float | None, *, target: float, reference: ArrayLike,
    reference_patients: ArrayLike | None, word: str, method: Method, confidence: float,
) -> RatesAtTarget:  # fmt: skip
    patients = len(conformal.highest_by_patient(reference, reference_patients))
    result = RatesAtTarget(
        target=target, threshold=threshold, reference_films=len(conformal.highest_by_patient(reference)),
        reference_patients=patients, sensitivity=None, specificity=None, left_out=sample.left_out,
    )  # fmt: skip
    if threshold is None:
        reason = f"No {word} film of the other sample has a score, so there is no threshold."
        if patients:
            reason = (
                f"The {word} films of the other sample are of {patients} patients, which are too few for a share of "
                f"{target:g}, so there is no threshold."
            )
        return replace(result, reason=reason)
    called = sample.scores[:, 0] >= threshold
    abnormal = sample.abnormal
    sensitivity = _rate(called[abnormal], sample.patients[abnormal], method=method, confidence=confidence)
    specificity = _rate(~called[~abnormal], sample.patients[~abnormal], method=method, confidence=confidence)
    return replace(result, sensitivity=sensitivity, specificity=specificity)


def _rate(successes: BoolArray, patients: IntArray, *, method: Method, confidence: float) -> Rate:
    if method not in ("wilson", "exact"):
        raise ValueError(f"method is {method!r}; it must be 'wilson' or 'exact'")
    z = normal_quantile(confidence)
    hits, total, people = int(np.count_nonzero(successes)), len(successes), len(np.unique(patients))
    rate = Rate(
        successes=hits, total=total, patients=people, effective_total=None, value=None, low=None, high=None,
        method=method, confidence=confidence,
    )  # fmt: skip
    if total == 0:
        return replace(rate, reason="No such film has a score, so the rate is not defined.")
    share = hits / total
    if people == 1 < total:
        reason = "All these films are of one patient: an interval needs at least two."
        return replace(rate, value=share, reason=reason)
    size = _effective_total(successes, patients)
    if method == "exact":
        low, high = exact_limits(share * size, size, confidence=confidence)
    else:
        lows, highs = wilson_limits(np.array([share]), size, z)
        low, high = float(lows[0]), float(highs[0])
    return replace(rate, effective_total=size, value=share, low=low, high=high)


def _effective_total(successes: BoolArray, patients: IntArray) -> float:
    total, people = len(successes), len(np.unique(patients))
    share = float(successes.mean())
    if people == total:
        return float(total)
    if share in (0.0, 1.0):
        return float(people)
    away = np.bincount(np.unique(patients, return_inverse=True)[1], weights=successes - share)
    variance = people / (people - 1) * float((away**2).sum()) / total**2
    return min(float(total), share * (1 - share) / variance) if variance > 0 else float(total)


def _refuse_target(name: str, value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name} is {value}; it must be above 0 and at most 1, such as 0.9")
