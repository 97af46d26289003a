"""The ROC curve, reduced to as many points as a figure needs, and its pointwise band."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import areas_of
from analysis.statistics.counts import wilson_limits
from analysis.statistics.sample import (
    FloatArray,
    IntArray,
    Sample,
    normal_quantile,
    resampled_weights,
    take_sample,
)


@dataclass(frozen=True)
class RocCurve:
    """Points from (0, 0) to (1, 1); a film is called abnormal when its score is at least the threshold.

    false_positive_rate, sensitivity, thresholds (P,) float64, the first threshold +inf; films (P,) int64: the index in
    the caller's arrays of a film with exactly that score, abnormal where possible, −1 at the first point; auroc of all
    films, which the area under the reduced points matches within 1e-4. Without both classes the arrays are empty,
    auroc is None and `reason` explains why.
    """

    false_positive_rate: FloatArray
    sensitivity: FloatArray
    thresholds: FloatArray
    films: IntArray
    auroc: float | None
    positives: int
    negatives: int
    left_out: int
    reason: str = ""

    def thinned(self, max_points: int) -> RocCurve:
        """The same curve with at most `max_points` of its points: the first and last on each of equal stretches."""
        kept = _thinned(self.false_positive_rate + self.sensitivity, max_points)
        return replace(
            self,
            false_positive_rate=self.false_positive_rate[kept],
            sensitivity=self.sensitivity[kept],
            thresholds=self.thresholds[kept],
            films=self.films[kept],
        )


@dataclass(frozen=True)
class RocBand:
    """Pointwise interval of the sensitivity at fixed false positive rates, all (G,) float64 in [0, 1]; empty, with a
    `reason`, where it cannot be computed."""

    false_positive_rate: FloatArray
    sensitivity: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float
    replicates: int
    seed: int
    reason: str = ""


def roc_curve(labels: ArrayLike, scores: ArrayLike, *, max_points: int = 1000) -> RocCurve:
    """The ROC curve of labels (N,) of 0 and 1 and scores (N,), at most `max_points` points.

    Points inside a straight segment are dropped, which does not change the curve; the rest is thinned if needed.
    """
    sample = take_sample(labels, scores)
    reason = sample.why_undefined()
    if reason:
        none = np.empty(0)
        return RocCurve(
            false_positive_rate=none, sensitivity=none, thresholds=none, films=np.empty(0, np.int64), auroc=None,
            positives=sample.positives, negatives=sample.negatives, left_out=sample.left_out, reason=reason,
        )  # fmt: skip
    order = np.lexsort((~sample.abnormal, -sample.scores[:, 0]))  # among equal scores, abnormal films first
    ranked, abnormal = sample.scores[order, 0], sample.abnormal[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] < ranked[:-1]])  # of each distinct score
    ends = np.r_[starts[1:], len(ranked)] - 1
    positive = np.r_[0, np.cumsum(abnormal)[ends]]
    negative = np.r_[0, np.cumsum(~abnormal)[ends]]
    kept = _corners(negative, positive)
    curve = RocCurve(
        false_positive_rate=negative[kept] / sample.negatives,
        sensitivity=positive[kept] / sample.positives,
        thresholds=np.r_[np.inf, ranked[starts]][kept],
        films=np.r_[-1, sample.films[order[starts]]][kept],
        auroc=float(areas_of(sample)[0]),
        positives=sample.positives,
        negatives=sample.negatives,
        left_out=sample.left_out,
    )
    return curve.thinned(max_points)


def _corners(x: IntArray, y: IntArray) -> IntArray:
    """Indices of the points where the path through integer points (x, y) turns, with both ends."""
    dx, dy = np.diff(x), np.diff(y)
    turns = dx[:-1] * dy[1:] != dx[1:] * dy[:-1]
    return np.flatnonzero(np.r_[True, turns, True])


def _thinned(travelled: FloatArray, max_points: int) -> IntArray:
    """Indices of the first and last point of equal stretches of `travelled` (P,), ascending in [0, 2]."""
    if len(travelled) <= max_points:
        return np.arange(len(travelled))
    stretches = max_points // 2
    stretch = np.minimum((travelled / 2 * stretches).astype(np.int64), stretches - 1)
    changes = stretch[1:] != stretch[:-1]
    return np.flatnonzero(np.r_[True, changes] | np.r_[changes, True])


def roc_band(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    points: int = 101,
    replicates: int = 1000,
    seed: int = 0,
) -> RocBand:
    """The band of the sensitivity at `points` equally spaced values of 1 − specificity, by bootstrap of the patients.

    Never narrower than Wilson's interval for the number of abnormal patients: near the ends of the curve all resamples
    agree, and their percentiles alone would claim certainty. The ends themselves are certain: every curve starts at
    (0, 0), so that the band includes the sensitivity 0 there, and ends at (1, 1).
    """
    sample = take_sample(labels, scores, patients)
    z = normal_quantile(confidence)
    none = np.empty(0)
    result = RocBand(
        false_positive_rate=none, sensitivity=none, low=none, high=none,
        confidence=confidence, replicates=replicates, seed=seed,
        reason=sample.why_undefined() or sample.why_no_interval(),
    )  # fmt: skip
    if result.reason:
        return result
    grid = np.linspace(0.0, 1.0, points)
    order = np.argsort(-sample.scores[:, 0], kind="stable")
    observed = _sensitivities(sample, order, np.ones((1, len(order)), np.int64), grid)[0]
    resampled = np.concatenate(
        [
            _sensitivities(sample, order, weights, grid)
            for weights in resampled_weights(sample, replicates=replicates, seed=seed)
        ]
    )
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    floor, ceiling = wilson_limits(observed, sample.positive_patients, z)
    low, high = np.minimum(low, floor), np.maximum(high, ceiling)
    low[0], low[-1], high[-1] = 0.0, 1.0, 1.0
    return replace(result, false_positive_rate=grid, sensitivity=observed, low=low, high=high)


def _sensitivities(sample: Sample, order: IntArray, weights: IntArray, grid: FloatArray) -> FloatArray:
    """(B, G) sensitivity of each weighted sample at each false positive rate, linear across ties.

    order (N,) sorts the films by falling score; weights (B, N) is how often each film counts.
    """
    ranked, abnormal = sample.scores[order, 0], sample.abnormal[order]
    ends = np.flatnonzero(np.r_[ranked[1:] < ranked[:-1], True])
    weights = weights[:, order]
    positive = np.cumsum(weights * abnormal, axis=1)[:, ends]
    negative = np.cumsum(weights, axis=1)[:, ends] - positive
    result = np.empty((len(weights), len(grid)))
    for row in range(len(weights)):
        y, x = np.r_[0, positive[row]], np.r_[0, negative[row]]
        wanted = grid * x[-1]
        at = x.searchsorted(wanted + 1e-9, "right") - 1  # the last point not beyond it: the top of a vertical segment
        after = np.minimum(at + 1, len(x) - 1)
        share = (wanted - x[at]) / np.maximum(x[after] - x[at], 1)
        result[row] = (y[at] + share * (y[after] - y[at])) / y[-1]
    return np.clip(result, 0.0, 1.0)
