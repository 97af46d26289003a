"""Number of films for a share, such as a sensitivity, whose interval is to be narrow enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.statistics.counts import wilson_limits
from analysis.statistics.sample import normal_quantile


@dataclass(frozen=True)
class ShareSize:
    """`films` at which Wilson's interval of an observed `share` has half the width `half_width` or less; `low` and
    `high` are its limits then."""

    share: float
    half_width: float
    films: int
    low: float
    high: float
    confidence: float


def share_sample_size(share: float, *, half_width: float, confidence: float = 0.95) -> ShareSize:
    """The fewest films, each of another patient, at which Wilson's interval is at most 2 · half_width wide.

    The width falls with the number of films, so the number is found by doubling and bisection. `share · films` need not
    be a whole number. Raises ValueError for a share outside [0, 1], a half width outside (0, 0.5) or below 0.0001, and
    a confidence outside (0, 1).
    """
    z = normal_quantile(confidence)
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share is {share}; it must lie from 0 to 1")
    if not 0.0001 <= half_width < 0.5:
        raise ValueError(f"half_width is {half_width}; it must lie from 0.0001 to below 0.5")

    def limits(films: int) -> tuple[float, float]:
        low, high = wilson_limits(np.array([share]), films, z)
        return float(low[0]), float(high[0])

    def is_wide(films: int) -> bool:
        low, high = limits(films)
        return high - low > 2 * half_width

    enough = 1
    while is_wide(enough):
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if is_wide(middle):
            too_few = middle
        else:
            enough = middle
    low, high = limits(enough)
    return ShareSize(share, half_width, enough, low=low, high=high, confidence=confidence)
