"""Counts and proportions: Wilson's interval, operating points, histograms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import FloatArray, IntArray, normal_quantile, take_sample


@dataclass(frozen=True)
class Proportion:
    """successes of total, with Wilson's interval; value, low, high are None when total is 0."""

    successes: int
    total: int
    value: float | None
    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True)
class OperatingPoint:
    """Counts and rates when films scoring at least `threshold` are called abnormal.

    The intervals treat films as independent. Predictive values hold at the prevalence of this sample.
    """

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    sensitivity: Proportion
    specificity: Proportion
    positive_predictive_value: Proportion
    negative_predictive_value: Proportion
    prevalence: Proportion
    left_out: int


@dataclass(frozen=True)
class Histogram:
    """edges (B + 1,) float64 shared by all groups; counts: group name -> (B,) int64; left_out: films without a finite
    score. edges is empty where no film has one."""

    edges: FloatArray
    counts: dict[str, IntArray]
    left_out: int


def wilson(successes: int, total: int, *, confidence: float = 0.95) -> Proportion:
    """Wilson 1927's score interval of a proportion. Raises ValueError unless 0 ≤ successes ≤ total."""
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} of {total} is not a proportion; successes must lie between 0 and the total")
    z = normal_quantile(confidence)
    if total == 0:
        return Proportion(successes=0, total=0, value=None, low=None, high=None, confidence=confidence)
    low, high = wilson_limits(np.array([successes / total]), total, z)
    return Proportion(
        successes=successes,
        total=total,
        value=successes / total,
        low=float(low[0]),
        high=float(high[0]),
        confidence=confidence,
    )


def wilson_limits(shares: FloatArray, total: float, z: float) -> tuple[FloatArray, FloatArray]:
    """Lower and upper limits of shares (K,) of the same total, each limit (K,) in [0, 1]."""
    centre = (shares + z**2 / (2 * total)) / (1 + z**2 / total)
    spread = np.sqrt(shares * (1 - shares) / total + z**2 / (4 * total**2))
    half = z / (1 + z**2 / total) * spread
    low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
    return np.where(shares <= 0, 0.0, low), np.where(shares >= 1, 1.0, high)


def operating_point(
    labels: ArrayLike, scores: ArrayLike, *, threshold: float, confidence: float = 0.95
) -> OperatingPoint:
    """Confusion counts of labels (N,) and scores (N,) at a threshold, with Wilson's intervals."""
    if math.isnan(threshold):
        raise ValueError("threshold is not a number")
    sample = take_sample(labels, scores)
    called = sample.scores[:, 0] >= threshold
    tp = int(np.count_nonzero(called & sample.abnormal))
    fp = int(np.count_nonzero(called & ~sample.abnormal))
    fn, tn = sample.positives - tp, sample.negatives - fp

    def share(successes: int, total: int) -> Proportion:
        return wilson(successes, total, confidence=confidence)

    return OperatingPoint(
        threshold=float(threshold),
        true_positives=tp,
        false_positives=fp,
        true_negatives=tn,
        false_negatives=fn,
        sensitivity=share(tp, tp + fn),
        specificity=share(tn, tn + fp),
        positive_predictive_value=share(tp, tp + fp),
        negative_predictive_value=share(tn, tn + fn),
        prevalence=share(tp + fn, len(called)),
        left_out=sample.left_out,
    )


def histogram(scores: ArrayLike, groups: ArrayLike, *, bins: int = 40) -> Histogram:
    """Counts of scores (N,) by group (N,), such as the label's name, over `bins` common bins from the lowest to the
    highest score. Groups are in order of their names."""
    values = np.asarray(scores, dtype=np.float64)
    names = np.asarray(groups).astype(str)
    if values.ndim != 1 or names.shape != values.shape:
        raise ValueError(f"scores {values.shape} and groups {names.shape} must have one value for each film")
    usable = np.isfinite(values)
    left_out = int(np.count_nonzero(~usable))
    if not usable.any():
        return Histogram(np.empty(0), {}, left_out)
    edges = np.histogram_bin_edges(values[usable], bins=bins)
    counts = {
        str(name): np.histogram(values[usable & (names == name)], bins=edges)[0].astype(np.int64)
        for name in np.unique(names[usable])
    }
    return Histogram(edges, counts, left_out)
