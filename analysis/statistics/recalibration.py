"""Risks from scores: a logistic recalibration fitted on one sample, brought to a stated prevalence, and judged on
another by calibration and by net benefit.

Prevalence correction: King & Zeng 2001, Polit Anal 9:137, eq. 7. Calibration intercept and slope: Cox 1958, Biometrika
45:562. Net benefit: Vickers & Elkin 2006, Med Decis Making 26:565. Films are weighted so that both classes have the
stated prevalence, whatever their numbers in the sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.logistic import fit_logistic
from analysis.statistics.rates import clustered_rate
from analysis.statistics.resampling import expit
from analysis.statistics.sample import BoolArray, FloatArray, Sample, normal_quantile, resampled_weights, take_sample

GROUPS = 10
MOST_STEPS = 100


@dataclass(frozen=True)
class Recalibration:
    """log-odds of abnormal = intercept + slope · score, at `prevalence`; films of the fit by class. None, with a
    `reason`, where it cannot be fitted."""

    intercept: float | None
    slope: float | None
    prevalence: float
    positives: int
    negatives: int
    left_out: int
    reason: str = ""

    def risks(self, scores: ArrayLike) -> FloatArray:
        """(N,) risks in [0, 1] of scores (N,). Raises ValueError where there is no fit."""
        if self.intercept is None or self.slope is None:
            raise ValueError(f"no recalibration was fitted: {self.reason}")
        return expit(self.intercept + self.slope * np.asarray(scores, dtype=np.float64))


@dataclass(frozen=True)
class Coefficient:
    """An estimate with its symmetric interval; None where it cannot be computed."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RiskGroup:
    """Films of neighbouring risks: their numbers by class, the mean predicted risk, and the observed one at the stated
    prevalence with the limits of Wilson's interval."""

    films: int
    abnormal: int
    predicted: float
    observed: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RiskCalibration:
    """Predicted against observed risk at a prevalence. expected: the mean predicted risk. intercept is that of the
    log-odds with slope 1 (0 is ideal), slope that of the log-odds (1 is ideal). brier: the mean squared difference of
    risk and label; reference_brier: that of the prevalence as everybody's risk. Numbers are None, with a `reason`,
    where they cannot be computed."""

    prevalence: float
    reference_brier: float
    positives: int
    negatives: int
    left_out: int
    confidence: float
    expected: float | None = None
    intercept: Coefficient = Coefficient(None, None, None)
    slope: Coefficient = Coefficient(None, None, None)
    brier: float | None = None
    groups: tuple[RiskGroup, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class NetBenefit:
    """Of calling films with a risk of at least `threshold`, with percentile limits of a bootstrap by patient, in true
    positives for each film; `all_called` is that of calling every film. Calling none has 0."""

    threshold: float
    value: float
    low: float
    high: float
    all_called: float


def fit_recalibration(labels: ArrayLike, scores: ArrayLike, *, prevalence: float, least: int = 1) -> Recalibration:
    """Maximum likelihood of labels (N,) on scores (N,), with the intercept moved from the sample's share of abnormal
    films to `prevalence`. Without a fit where a class has fewer than `least` films or the classes separate. Raises
    ValueError for a prevalence outside (0, 1)."""
    _refuse_prevalence(prevalence)
    sample = take_sample(labels, scores)

    def result(intercept: float | None, slope: float | None, reason: str = "") -> Recalibration:
        return Recalibration(
            intercept, slope, prevalence=prevalence, positives=sample.positives, negatives=sample.negatives,
            left_out=sample.left_out, reason=reason,
        )  # fmt: skip

    if reason := _too_few(sample, max(least, 1)):
        return result(None, None, reason)
    values, abnormal = sample.scores[:, 0], sample.abnormal
    ill, well = values[abnormal], values[~abnormal]
    if ill.min() >= well.max() or ill.max() <= well.min():
        return result(None, None, "The scores separate the classes completely, so the slope would be infinite.")
    middle, spread = float(values.mean()), float(values.std())
    start, weights = fit_logistic(((values - middle) / spread)[:, None], abnormal, penalty=0.0)
    slope = float(weights[0]) / spread
    shift = _logit(prevalence) - _logit(sample.positives / len(values))
    return result(start - slope * middle + shift, slope)


def risk_calibration(
    labels: ArrayLike,
    risks: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    prevalence: float,
    least: int = 1,
    confidence: float = 0.95,
) -> RiskCalibration:
    """How predicted risks (N,) in (0, 1) agree with labels (N,), with patients (N,) or None.

    Intercept and slope are weighted maximum likelihood, with variances by patient (Huber and White's sandwich). Groups
    hold equally many films, at most 10 and at least `least` films each. There are no numbers where a class has fewer
    than `least` films. Raises ValueError for a prevalence or confidence outside (0, 1), and as `take_sample`.
    """
    _refuse_prevalence(prevalence)
    z = normal_quantile(confidence)
    sample = take_sample(labels, risks, patients)
    result = RiskCalibration(
        prevalence=prevalence, reference_brier=prevalence * (1 - prevalence), positives=sample.positives,
        negatives=sample.negatives, left_out=sample.left_out, confidence=confidence,
    )  # fmt: skip
    if reason := _too_few(sample, max(least, 1)):
        return replace(result, reason=reason)
    risk = np.clip(sample.scores[:, 0], 1e-12, 1 - 1e-12)
    weights = _weights(sample.abnormal, prevalence)
    log_odds = np.log(risk / (1 - risk))
    ones = np.ones((len(risk), 1))
    intercept = _coefficient(ones, log_odds, sample, weights, z=z)
    slope = _coefficient(np.column_stack([ones, log_odds]), np.zeros(len(risk)), sample, weights, z=z)
    return replace(
        result,
        expected=float(weights @ risk),
        intercept=intercept,
        slope=slope,
        brier=float(weights @ (risk - sample.abnormal) ** 2),
        groups=_groups(sample, risk, prevalence, least=max(least, 1), confidence=confidence),
    )


def net_benefits(
    labels: ArrayLike,
    risks: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    prevalence: float,
    thresholds: Sequence[float],
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[NetBenefit, ...]:
    """π · sensitivity − (1 − π) · (1 − specificity) · t / (1 − t) of calling a film with a risk of at least t, for
    thresholds t (T,) in (0, 1) at the prevalence π, with a bootstrap by patient. Empty where a class has no film.
    Raises ValueError for thresholds, prevalence or confidence outside (0, 1)."""
    _refuse_prevalence(prevalence)
    normal_quantile(confidence)
    levels = np.asarray(thresholds, dtype=np.float64)
    if not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"thresholds are {levels.tolist()}; each must lie between 0 and 1")
    sample = take_sample(labels, risks, patients)
    if sample.why_undefined():
        return ()
    cost = (1 - prevalence) * levels / (1 - levels)
    called = (sample.scores[:, :1] >= levels).astype(np.float64)  # (N, T)
    called_ill, called_well = called * sample.abnormal[:, None], called * ~sample.abnormal[:, None]

    def benefit(weights: FloatArray) -> FloatArray:
        """(B, T) from how often each film counts, (B, N)."""
        ill, well = weights @ sample.abnormal, weights @ ~sample.abnormal
        sensitivity, false_alarms = weights @ called_ill / ill[:, None], weights @ called_well / well[:, None]
        return np.asarray(prevalence * sensitivity - cost * false_alarms)

    values = benefit(np.ones((1, len(called))))[0]
    resamples = resampled_weights(sample, replicates=replicates, seed=seed)
    drawn = np.concatenate([benefit(block.astype(np.float64)) for block in resamples])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    rows = zip(levels.tolist(), values.tolist(), low.tolist(), high.tolist(), (prevalence - cost).tolist(), strict=True)
    return tuple(NetBenefit(*row) for row in rows)


def _refuse_prevalence(prevalence: float) -> None:
    if not 0.0 < prevalence < 1.0:
        raise ValueError(f"prevalence is {prevalence}; it must lie between 0 and 1")


def _too_few(sample: Sample, least: int) -> str:
    for word, count in (("abnormal", sample.positives), ("normal", sample.negatives)):
        if count < least:
            return f"{count} {word} film{'' if count == 1 else 's'}: at least {least} of each class are needed."
    return ""


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _weights(abnormal: BoolArray, prevalence: float) -> FloatArray:
    """(N,) weights with the sum 1, that of the abnormal films being the prevalence."""
    ill = np.count_nonzero(abnormal)
    return np.where(abnormal, prevalence / ill, (1 - prevalence) / (len(abnormal) - ill))


def _coefficient(
    design: FloatArray, offset: FloatArray, sample: Sample, weights: FloatArray, *, z: float
) -> Coefficient:
    """The last coefficient of a weighted logistic regression on the design (N, K) with an offset (N,). The weights fix
    the share of each class, so only the spread within the classes makes the variance."""
    estimate = np.zeros(design.shape[1])
    if design.shape[1] == 2:
        estimate[1] = 1.0
    for _ in range(MOST_STEPS):
        share = expit(design @ estimate + offset)
        gradient = design * (weights * (sample.abnormal - share))[:, None]  # (N, K)
        curvature = (design * (weights * share * (1 - share))[:, None]).T @ design
        try:
            step = np.linalg.solve(curvature, gradient.sum(axis=0))
        except np.linalg.LinAlgError:
            return Coefficient(None, None, None)
        largest = float(np.abs(step).max())
        estimate = estimate + step / max(1.0, largest)  # no step above 1, so that a far start cannot run away
        if largest < 1e-10:
            break
    else:
        return Coefficient(None, None, None)
    for of_class in (sample.abnormal, ~sample.abnormal):
        gradient[of_class] -= gradient[of_class].mean(axis=0)
    patients = int(sample.patients.max()) + 1
    by_patient = np.stack(
        [np.bincount(sample.patients, weights=column, minlength=patients) for column in gradient.T], axis=1
    )
    inverse = np.linalg.inv(curvature)
    count = len(np.unique(sample.patients))
    variance = inverse @ (by_patient.T @ by_patient) @ inverse * (count / max(count - 1, 1))
    value, half = float(estimate[-1]), z * math.sqrt(float(variance[-1, -1]))
    return Coefficient(value, value - half, value + half)


def _groups(
    sample: Sample, risk: FloatArray, prevalence: float, *, least: int, confidence: float
) -> tuple[RiskGroup, ...]:
    """Equally many films in each group, by rising risk. The share of abnormal films in a group and its limits are
    brought to the prevalence by their odds, which the prevalence multiplies by one factor for all groups."""
    order = np.argsort(risk, kind="stable")
    weights = _weights(sample.abnormal, prevalence)
    factor = math.exp(_logit(prevalence) - _logit(sample.positives / len(risk)))

    def at_prevalence(share: float) -> float:
        return factor * share / (factor * share + 1 - share)

    groups = []
    for films in np.array_split(order, max(1, min(GROUPS, len(risk) // least))):
        rate = clustered_rate(sample.abnormal[films], sample.patients[films], confidence=confidence)
        assert rate.value is not None  # the group has films
        groups.append(
            RiskGroup(
                films=len(films),
                abnormal=int(sample.abnormal[films].sum()),
                predicted=float(np.average(risk[films], weights=weights[films])),
                observed=at_prevalence(rate.value),
                low=None if rate.low is None else at_prevalence(rate.low),
                high=None if rate.high is None else at_prevalence(rate.high),
            )
        )
    return tuple(groups)
