"""AUROC over the fusion weight (paper, Fig. 14), and the weight chosen on tune."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import clustered_variance, interval, needs_logit, placements
from analysis.statistics.sample import FloatArray, take_sample

PAPER_WEIGHT = 0.6


@dataclass(frozen=True)
class FusionSweep:
    """weights (W,) from 0 (global only) to 1 (region only); auroc, low, high (W,) float64 in [0, 1], or empty, with a
    `reason`: all three where a class has no film, low and high where an interval needs more patients. `logit` is True
    where the intervals are on the logit scale.
    """

    weights: FloatArray
    auroc: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float
    positives: int
    negatives: int
    left_out: int
    logit: bool = False
    reason: str = ""


def fusion_sweep(
    labels: ArrayLike,
    scores_by_weight: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> FusionSweep:
    """AUROC with interval at each of W equally spaced weights; scores_by_weight is (N, W), as in `sweep.npy`.

    The intervals are those of `auroc_interval`, all on one scale so that the band has no step: the logit scale if any
    weight needs it. Pass the `logit` of the result to `auroc_interval` for the same interval at a single weight. A film
    without a finite score at some weight is left out at all weights.
    """
    columns = np.asarray(scores_by_weight)
    if columns.ndim != 2 or columns.shape[1] < 2:
        raise ValueError(f"scores_by_weight has shape {columns.shape}; expected (films, weights)")
    sample = take_sample(labels, columns, patients)
    weights = np.linspace(0.0, 1.0, columns.shape[1])
    area = low = high = np.empty(0)
    logit = False
    reason = sample.why_undefined()
    if not reason:
        positive, negative = placements(sample)
        area = np.asarray(positive.mean(axis=0), dtype=np.float64)
        reason = sample.why_no_interval()
    if not reason:
        logit = needs_logit(sample, area)
        low, high = interval(
            area,
            clustered_variance(sample, positive, negative),
            confidence=confidence,
            logit=logit,
            sizes=(sample.positive_patients, sample.negative_patients),
        )
    return FusionSweep(
        weights=weights,
        auroc=area,
        low=low,
        high=high,
        confidence=confidence,
        positives=sample.positives,
        negatives=sample.negatives,
        left_out=sample.left_out,
        logit=logit,
        reason=reason,
    )


def choose_weight(sweep: FusionSweep, *, preferred: float = PAPER_WEIGHT) -> float:
    """The weight with the best AUROC; among equals the one nearest `preferred`, then the smaller; `preferred` itself
    where the sweep has no AUROC. Call it with tune only, never with test."""
    if not len(sweep.auroc):
        return preferred
    best = np.flatnonzero(sweep.auroc >= sweep.auroc.max() - 1e-12)
    distance = np.round(np.abs(sweep.weights[best] - preferred), 9)
    return float(np.round(sweep.weights[best[np.argmin(distance)]], 9))
