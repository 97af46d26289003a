"""The spread of a statistic over seeds, which is not the sampling error of the films."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics.sample import normal_quantile


@dataclass(frozen=True)
class Spread:
    """Over runs that differ only by their seed, `seeds` of them: mean; deviation, the sample standard deviation; low
    and high, the lowest and highest; mean_low and mean_high, Student's interval of the mean over seeds on these films,
    which does not cover other films. deviation and the interval are None for a single seed."""

    seeds: int
    mean: float
    deviation: float | None
    low: float
    high: float
    mean_low: float | None
    mean_high: float | None


def spread_over_seeds(values: Sequence[float | None], *, confidence: float = 0.95) -> Spread | None:
    """The spread of the values that are not None, each in [0, 1] like an AUROC; the interval is clipped to [0, 1],
    which does not lower its coverage. None without any value. Raises ValueError for a confidence outside (0, 1)."""
    normal_quantile(confidence)  # raises outside (0, 1)
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return None
    mean, low, high = float(known.mean()), float(known.min()), float(known.max())
    if len(known) == 1:
        return Spread(seeds=1, mean=mean, deviation=None, low=low, high=high, mean_low=None, mean_high=None)
    deviation = float(known.std(ddof=1))
    from scipy.special import stdtrit

    half = float(stdtrit(len(known) - 1, 0.5 + confidence / 2)) * deviation / math.sqrt(len(known))
    return Spread(
        seeds=len(known),
        mean=mean,
        deviation=deviation,
        low=low,
        high=high,
        mean_low=max(mean - half, 0.0),
        mean_high=min(mean + half, 1.0),
    )
