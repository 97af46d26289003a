"""Standardised differences between two groups."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike


def difference_of_means(first: ArrayLike, second: ArrayLike) -> float | None:
    """(mean of first − mean of second) / √((variance of first + variance of second) / 2), of values (N,) and (M,).

    Austin 2009, Stat Med 28:3083; an absolute value above 0.1 is commonly called an imbalance. Values that are not
    finite are left out. None where either group has fewer than two values; 0 where all values are equal, and infinite
    where both groups are constant and differ.
    """
    one, other = (np.asarray(side, dtype=np.float64).ravel() for side in (first, second))
    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    if min(len(one), len(other)) < 2:
        return None
    difference = float(one.mean() - other.mean())
    spread = math.sqrt((float(one.var(ddof=1)) + float(other.var(ddof=1))) / 2)
    if spread == 0.0:
        return 0.0 if difference == 0.0 else math.copysign(math.inf, difference)
    return difference / spread


def difference_of_shares(first: Mapping[str, int], second: Mapping[str, int]) -> float | None:
    """The distance between two distributions over categories, from the counts of each: √(d' S⁻¹ d), never negative.

    Yang & Dalton 2012 (SAS Global Forum 335): d holds the differences of the shares of all categories but one, and S is
    the mean of the two multinomial covariances; with two categories it is the absolute difference of the proportions
    over √((p(1−p) + q(1−q)) / 2). Infinite where the shares differ in a direction without variance. None where a group
    is empty.
    """
    names = sorted({name for side in (first, second) for name, count in side.items() if count})
    totals = [sum(side.values()) for side in (first, second)]
    if not all(totals):
        return None
    shares = [
        np.array([side.get(name, 0) / total for name in names[1:]])
        for side, total in zip((first, second), totals, strict=True)
    ]
    if not len(shares[0]):
        return 0.0
    difference = shares[0] - shares[1]
    covariance = sum(np.diag(share) - np.outer(share, share) for share in shares) / 2
    solved = np.linalg.pinv(np.asarray(covariance), hermitian=True) @ difference
    if not np.allclose(covariance @ solved, difference, atol=1e-9):
        return math.inf
    return math.sqrt(max(0.0, float(difference @ solved)))
