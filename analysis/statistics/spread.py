"""The spread of a figure over seeds: that of the method, another thing than the sampling error of the films."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.statistics.sample import normal_quantile


@dataclass(frozen=True)
class Spread:
    """Over `seeds` runs that differ by their seed alone: `mean`; `deviation`, the sample standard deviation; the
    lowest and the highest, `low` and `high`; and Student's interval of the mean, `mean_low` to `mean_high`, which says
    how well the mean over seeds is known on these films and nothing of other films. None for a single seed."""

    seeds: int
    mean: float
    deviation: float | None
    low: float
    high: float
    mean_low: float | None
    mean_high: float | None


def spread_over_seeds(values: Sequence[float | None], *, confidence: float = 0.95) -> Spread | None:
    """Of the values that are there, each in [0, 1] as an AUROC is; the interval is cut there too, which costs no
    coverage. None without any. Raises ValueError for a confidence outside (0, 1)."""
    normal_quantile(confidence)  # refuses nonsense
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return None
    mean, low, high = float(known.mean()), float(known.min()), float(known.max())
    if len(known) == 1:
        return Spread(seeds=1, mean=mean, deviation=None, low=low, high=high, mean_low=None, mean_high=None)
    deviation = float(known.std(ddof=1))
    half = float(stats.t.ppf(0.5 + confidence / 2, len(known) - 1)) * deviation / math.sqrt(len(known))
    return Spread(
        seeds=len(known),
        mean=mean,
        deviation=deviation,
        low=low,
        high=high,
        mean_low=max(mean - half, 0.0),
        mean_high=min(mean + half, 1.0),
    )
