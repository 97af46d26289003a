"""Fusion of the global and the region map (paper, section 3.2, Fig. 14)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]  # (N, 2, h, w): channel 0 global, channel 1 region; NaN where masked
WEIGHTS: NDArray[np.float64] = np.arange(101) / 100  # 0: only the global map, 1: only the region map
FALLBACK_WEIGHT = 0.6  # the paper's best (Fig. 14); ties between weights go to the nearest to it


def standardised(maps: Maps, mean: Maps | None, std: Maps | None) -> NDArray[np.float64]:
    """(maps - mean) / std per position and channel, float64 (N, 2, h, w); without mean and std the maps unchanged.

    ``mean`` and ``std`` are float32 (2, h, w).
    """
    values = maps.astype(np.float64)
    if mean is None or std is None:
        return values
    return (values - mean.astype(np.float64)) / std.astype(np.float64)


def fuse(maps: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """weight * region + (1 - weight) * global, float64 (N, h, w) from maps (N, 2, h, w); NaN stays NaN."""
    return weight * maps[:, 1] + (1 - weight) * maps[:, 0]


def sweep_aurocs(scores: NDArray[np.floating], abnormal: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The AUROC at each weight, float64 (101,), from a sweep (N, 101) and the labels (N,); defined as in `auroc`."""
    from scipy.stats import rankdata

    positives = int(abnormal.sum())
    negatives = abnormal.size - positives
    if positives == 0 or negatives == 0:
        return np.full(scores.shape[1], np.nan)
    rank_sums = rankdata(scores, axis=0)[abnormal].sum(axis=0)
    return np.asarray((rank_sums - positives * (positives + 1) / 2) / (positives * negatives), dtype=np.float64)


def choose_weight(aurocs: NDArray[np.float64]) -> float:
    """The weight with the highest AUROC of ``aurocs`` (101,); ties go to the weight nearest to 0.6, then to the lower.

    0.6 where an AUROC is NaN.
    """
    if np.isnan(aurocs).any():
        return FALLBACK_WEIGHT
    best = WEIGHTS[aurocs >= aurocs.max() - 1e-12]
    return float(best[np.argmin(np.round(np.abs(best - FALLBACK_WEIGHT), 9))])
