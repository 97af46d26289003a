"""Shared by the bootstrapped statistics: counts at or above each threshold in every resample, and limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import FloatArray, IntArray, Sample, normal_quantile, resampled_weights

NO_SPREAD = "All resamples give the same value, so no interval can be computed from them."

MANY_FILMS = 20_000  # from this number on, resamples use only some of the thresholds
RESAMPLED_THRESHOLDS = 2000

Statistic = Callable[[IntArray, IntArray], FloatArray]


def resampled(
    sample: Sample, statistic: Statistic, *, confidence: float, replicates: int, seed: int
) -> tuple[float, tuple[float, float] | None]:
    """A statistic of the sample's first score column, in [0, 1], and its limits by bootstrap of the patients.

    `statistic` takes the positives and the negatives counted by `counts_above`, both (B, P) int64, and returns (B,)
    float64. The limits are `logit_limits` with the standard deviation over the resamples: for an average precision
    their coverage is better than that of percentiles (90 % against 81 % at 0.97), in line with Boyd, Eng & Page 2013.
    From `MANY_FILMS` films on, if each is its own patient, the resamples use about 2,000 of the thresholds.
    """
    order = np.argsort(-sample.scores[:, 0], kind="stable")
    once = np.ones((1, len(order)), dtype=np.int64)
    positive, negative = counts_above(sample, order, once)
    value = float(statistic(positive, negative)[0])
    if len(order) >= MANY_FILMS and len(np.unique(sample.patients)) == len(order):
        blocks = _resampled_counts(positive[0], negative[0], replicates=replicates, seed=seed)
    else:
        weighted = resampled_weights(sample, replicates=replicates, seed=seed)
        blocks = (counts_above(sample, order, weights) for weights in weighted)
    values = [statistic(*counts) for counts in blocks]
    return value, logit_limits(value, float(np.concatenate(values).std(ddof=1)), confidence=confidence)


def _resampled_counts(
    positive: IntArray, negative: IntArray, *, replicates: int, seed: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Blocks of resampled counts as from `counts_above`, at some of the thresholds, from those of the sample, (P,).

    When films of a class are drawn with replacement, their numbers between thresholds are multinomial. Half of the
    thresholds are spread evenly over the films of both classes; half are ever denser towards the highest score, where
    the precision changes with each film.
    """
    films = positive + negative
    evenly = np.r_[
        np.searchsorted(positive, np.linspace(1, positive[-1], RESAMPLED_THRESHOLDS // 4)),
        np.searchsorted(negative, np.linspace(1, negative[-1], RESAMPLED_THRESHOLDS // 4)),
    ]
    closer = np.searchsorted(films, np.geomspace(1, films[-1], RESAMPLED_THRESHOLDS // 2))
    kept = np.unique(np.r_[evenly, closer, len(films) - 1])
    generator = np.random.default_rng(seed)
    shares = [np.diff(counts[kept], prepend=0) / counts[-1] for counts in (positive, negative)]
    for start in range(0, replicates, 100):
        rows = min(100, replicates - start)
        drawn = [
            generator.multinomial(counts[-1], share, size=rows).cumsum(axis=1)
            for counts, share in zip((positive, negative), shares, strict=True)
        ]
        yield drawn[0], drawn[1]


def logit_limits(value: float, error: float, *, confidence: float) -> tuple[float, float] | None:
    """Limits of a value in [0, 1] with a standard error, symmetric on the logit scale (delta method); None without any
    spread, and for a value of 0 or 1, whose logit is infinite."""
    if error <= 1e-12 or not 0.0 < value < 1.0:
        return None
    centre = math.log(value / (1 - value))
    half = normal_quantile(confidence) * error / (value * (1 - value))
    return float(expit(centre - half)), float(expit(centre + half))


def expit(logit: ArrayLike) -> FloatArray:
    """1 / (1 + e⁻ˣ), without overflow."""
    x = np.asarray(logit, dtype=np.float64)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def counts_above(sample: Sample, order: IntArray, weights: IntArray) -> tuple[IntArray, IntArray]:
    """Positives and negatives scoring at least each of P distinct scores, falling: both (B, P) int64.

    order (N,) sorts the films by falling score; weights (B, N) is how often each film counts.
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
