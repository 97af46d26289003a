"""What the bootstrapped statistics share: counts above each threshold in every resample, and limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import FloatArray, IntArray, Sample, normal_quantile, resampled_weights

NO_SPREAD = "All resamples give the same value, which would claim certainty: there is no interval."

Statistic = Callable[[IntArray, IntArray], FloatArray]


def resampled(
    sample: Sample, statistic: Statistic, *, confidence: float, replicates: int, seed: int
) -> tuple[float, tuple[float, float] | None]:
    """A statistic of the sample's first score column, in [0, 1], and its limits by bootstrap of the patients.

    `statistic` gets the positives and the negatives counted by `counts_above`, both (B, P) int64, and answers (B,)
    float64. The limits are `logit_limits` with the standard deviation of the resamples: for an average precision they
    cover better than percentiles do (90 % against 81 % at 0.97), as Boyd, Eng & Page 2013 found of the logit scale.
    """
    order = np.argsort(-sample.scores[:, 0], kind="stable")
    once = np.ones((1, len(order)), dtype=np.int64)
    value = float(statistic(*counts_above(sample, order, once))[0])
    values = [
        statistic(*counts_above(sample, order, weights))
        for weights in resampled_weights(sample, replicates=replicates, seed=seed)
    ]
    return value, logit_limits(value, float(np.concatenate(values).std(ddof=1)), confidence=confidence)


def logit_limits(value: float, error: float, *, confidence: float) -> tuple[float, float] | None:
    """Limits of a value in [0, 1] with a standard error, symmetric on the logit scale (delta method); None where the
    error or the scale says nothing: no spread, or a value of 0 or 1."""
    if error <= 1e-12 or not 0.0 < value < 1.0:
        return None
    centre = math.log(value / (1 - value))
    half = normal_quantile(confidence) * error / (value * (1 - value))
    return float(expit(centre - half)), float(expit(centre + half))


def expit(logit: ArrayLike) -> FloatArray:
    """1 / (1 + e⁻ˣ), without overflow at either end."""
    x = np.asarray(logit, dtype=np.float64)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def counts_above(sample: Sample, order: IntArray, weights: IntArray) -> tuple[IntArray, IntArray]:
    """Positives and negatives scoring at least each of P distinct scores, falling: both (B, P) int64.

    order (N,) sorts the films by falling score; weights (B, N) say how often each film counts.
    """
    ranked, abnormal = sample.scores[order, 0], sample.abnormal[order]
    ends = np.flatnonzero(np.r_[ranked[1:] < ranked[:-1], True])
    weights = weights[:, order]
    positive = np.cumsum(weights * abnormal, axis=1)[:, ends]
    negative = np.cumsum(weights * ~abnormal, axis=1)[:, ends]
    return positive, negative


def area_between(x: FloatArray, y: FloatArray, *, low: float, high: float) -> FloatArray:
    """(B,) area under piecewise straight lines (x, y), both (B, P), x rising, over low ≤ x ≤ high."""
    left, right = x[:, :-1], x[:, 1:]
    run = right - left
    start, end = np.clip(left, low, high), np.clip(right, low, high)
    slope = np.diff(y, axis=1) / np.where(run > 0, run, 1.0)
    height = y[:, :-1] + slope * ((start + end) / 2 - left)
    return np.asarray(((end - start) * height).sum(axis=1), dtype=np.float64)
