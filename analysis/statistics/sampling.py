"""Sensitivity, predictive value and prevalence of a series of films, from a sample read with known probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.counts import wilson_limits
from analysis.statistics.predictive import Estimate, sum_of
from analysis.statistics.sample import BoolArray, FloatArray, IntArray, normal_quantile, take_sample

NO_READING = "No reading, so nothing can be estimated."


@dataclass(frozen=True)
class SampledRates:
    """Estimates for all films, from the films that were drawn and read.

    readings and patients are counts; represented is the estimated number of all films, Σ 1/π. Values and limits are in
    [0, 1].
    """

    sensitivity: Estimate
    positive_predictive_value: Estimate
    prevalence: Estimate
    readings: int
    patients: int
    represented: float
    confidence: float


@dataclass(frozen=True)
class _Readings:
    weights: FloatArray  # (N,) 1/π
    patients: IntArray  # (N,) codes
    z: float


def sampled_rates(
    labels: ArrayLike,
    called: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    probabilities: ArrayLike,
    confidence: float = 0.95,
) -> SampledRates:
    """Estimates from N readings: labels (N,) of 0 and 1 by the reader, called (N,) of 0 and 1 by the detector, and the
    probability (N,) in (0, 1] with which each film was drawn to be read.

    Each share is Hájek's, Σ wy / Σ wx with w = 1/π (Särndal, Swensson & Wretman 1992, eq. 5.7.4), its variance
    linearised by patient as if drawn with replacement (ibid. eq. 5.5.10), its limits Wilson's with the effective number
    p(1 − p) / variance (Korn & Graubard 1998); for a share of 0 or 1, which has no variance, the effective number is
    (Σ w)² / Σ w², w summed by patient. The sensitivity is A / (A + B), A being the share of films that are abnormal and
    called and B the share abnormal and missed, with limits from those of A and B (MOVER, Donner & Zou 2012), so that a
    sample of uncalled films without any miss does not claim a sensitivity of 1. A and B are taken as independent.

    Raises ValueError for probabilities outside (0, 1], where the arrays do not match and for a confidence outside
    (0, 1).
    """
    truth = take_sample(labels, np.zeros(len(np.asarray(labels))), patients)
    calls = take_sample(called, np.zeros(len(np.asarray(called)))).abnormal
    drawn = np.asarray(probabilities, dtype=np.float64)
    if drawn.shape != truth.abnormal.shape or calls.shape != truth.abnormal.shape:
        raise ValueError(
            f"labels {truth.abnormal.shape}, called {calls.shape} and probabilities {drawn.shape} must have one value "
            "for each reading"
        )
    if not ((drawn > 0) & (drawn <= 1)).all():
        raise ValueError(
            "probabilities must be above 0 and at most 1: a film that could not be drawn represents no other"
        )
    readings = _Readings(1 / drawn, truth.patients, normal_quantile(confidence))
    everything = np.ones(len(calls), dtype=bool)
    hit = _share(readings, truth.abnormal & calls, everything, possible=calls)
    missed = _share(readings, truth.abnormal & ~calls, everything, possible=~calls)
    return SampledRates(
        sensitivity=_part(hit, missed),
        positive_predictive_value=_share(readings, truth.abnormal & calls, calls, possible=calls),
        prevalence=_clipped(sum_of(hit, missed)),
        readings=len(calls),
        patients=len(np.unique(truth.patients)),
        represented=float(readings.weights.sum()),
        confidence=confidence,
    )


def _share(readings: _Readings, hits: BoolArray, of: BoolArray, *, possible: BoolArray) -> Estimate:
    """The weighted share of `hits` among the films `of`. Without any hit, the upper limit is that among the films
    `possible`, the only ones that could have been hits, times their share of all."""
    weights = readings.weights
    if not of.any():
        reason = "No film that was read is called abnormal." if len(of) else NO_READING
        return Estimate(None, None, None, reason)
    whole = float(weights[of].sum())
    share = float(weights[hits].sum()) / whole
    people = len(np.unique(readings.patients[of]))
    if people < 2:
        return Estimate(share, None, None, "The readings are of one patient: an interval needs at least two.")
    if not hits.any():
        return _share_of_none(readings, possible, whole)
    away = _by_patient(readings, np.where(of, hits - share, 0.0))
    variance = people / (people - 1) * float((away**2).sum()) / whole**2
    size = share * (1 - share) / variance if 0 < share < 1 and variance > 0 else _kish(readings, of)
    low, high = _wilson(share, size, readings.z)
    return Estimate(share, low, high)


def _share_of_none(readings: _Readings, among: BoolArray, whole: float) -> Estimate:
    if not among.any():
        return Estimate(0.0, 0.0, 0.0)
    part = float(readings.weights[among].sum()) / whole
    return Estimate(0.0, 0.0, part * _wilson(0.0, _kish(readings, among), readings.z)[1])


def _part(first: Estimate, second: Estimate) -> Estimate:
    """first / (first + second), in [0, 1]."""
    for estimate in (first, second):
        if estimate.value is None:
            return Estimate(None, None, None, estimate.reason)
    assert first.value is not None and second.value is not None
    if first.value + second.value == 0:
        return Estimate(None, None, None, "No abnormal film was read, so the sensitivity is not defined.")
    value = first.value / (first.value + second.value)
    if first.low is None or second.low is None:
        return Estimate(value, None, None, first.reason or second.reason)
    if first.value == 0:
        low, high = _ratio_limits(first, second)
        return Estimate(value, low / (1 + low), high / (1 + high))
    low, high = _ratio_limits(second, first)
    return Estimate(value, 1 / (1 + high), 1 / (1 + low))


def _ratio_limits(above: Estimate, below: Estimate) -> tuple[float, float]:
    """Limits of the positive ratio above / below, from the limits of each (Donner & Zou 2012, Stat Methods Med Res
    21:347, eq. 9), arranged to avoid cancellation."""
    assert above.value is not None and above.low is not None and above.high is not None
    assert below.value is not None and below.low is not None and below.high is not None
    product = above.value * below.value
    least, most = above.low * (2 * above.value - above.low), above.high * (2 * above.value - above.high)
    smallest, largest = below.low * (2 * below.value - below.low), below.high * (2 * below.value - below.high)
    low = least / (product + math.sqrt(product**2 - least * largest)) if least > 0 else 0.0
    return low, (product + math.sqrt(product**2 - most * smallest)) / smallest


def _clipped(estimate: Estimate) -> Estimate:
    if estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.value, max(0.0, estimate.low), min(1.0, estimate.high))


def _by_patient(readings: _Readings, values: FloatArray) -> FloatArray:
    return np.bincount(readings.patients, weights=readings.weights * values).astype(np.float64)


def _kish(readings: _Readings, of: BoolArray) -> float:
    """Kish's effective number of patients among the films `of`."""
    weights = _by_patient(readings, of.astype(np.float64))
    return float(weights.sum() ** 2 / (weights**2).sum())


def _wilson(share: float, size: float, z: float) -> tuple[float, float]:
    low, high = wilson_limits(np.array([share]), size, z)
    return float(low[0]), float(high[0])
