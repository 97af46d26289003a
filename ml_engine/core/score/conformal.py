"""Split-conformal thresholds: their rank, what they promise for new patients, and one score for each patient.

If the calibration scores and a new one are exchangeable, the new one exceeds the k-th smallest of n with a probability
of at most 1 - k / (n + 1) (Vovk, Gammerman & Shafer 2005). Films of one patient are not exchangeable with those of
another, so the unit is the patient, with one score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PromisedRate:
    """The share of new patients on the wrong side of a threshold fixed on `patients` exchangeable ones.

    ``target`` was requested; ``expected`` is the share averaged over the draw of the calibration patients, and ``low``
    to ``high`` is its central 95 % interval for one draw, all in [0, 1].
    """

    target: float
    patients: int
    expected: float
    low: float
    high: float


def rank(share: float, units: int) -> int | None:
    """k = ceil(share (n + 1)), the rank of the calibration score among n, from 1, that at least ``share`` of new scores
    do not exceed; None where k > n, which n scores cannot promise."""
    k = max(1, math.ceil(share * (units + 1) - 1e-9))
    return k if k <= units else None


def promised_rate(target: float, units: int) -> PromisedRate | None:
    """What the threshold for a rate of at most ``target`` (false alarms, or misses) promises; None where ``units`` are
    too few for it.

    The rate has a Beta(n + 1 - k, k) distribution over the draw of the calibration units, k = `rank` of 1 - target
    (order statistics of the uniform distribution); with ties it is at most that.
    """
    from scipy.special import betaincinv

    k = rank(1 - target, units)
    if k is None:
        return None
    a, tail = units + 1 - k, (1 - CONFIDENCE) / 2
    low, high = (float(betaincinv(a, k, at)) for at in (tail, 1 - tail))
    return PromisedRate(target, units, a / (units + 1), low, high)


def highest_by_patient(scores: ArrayLike, patients: ArrayLike | None = None) -> NDArray[np.float64]:
    """The highest score of each patient, sorted, float64 (P,), from ``scores`` (N,) of their films.

    Without ``patients`` (N,) each film is its own patient. Scores that are not finite are left out.
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    usable = np.isfinite(values)
    if patients is None:
        return np.sort(values[usable])
    codes = np.unique(np.asarray(patients).ravel(), return_inverse=True)[1]
    highest = np.full(int(codes.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(highest, codes[usable], values[usable])
    return np.sort(highest[np.isfinite(highest)])


def above_the_others(
    scores: NDArray[np.float64], patients: NDArray[np.int64], *, share: float
) -> NDArray[np.bool_] | None:
    """Whether each score (N,) exceeds the threshold that the other patients' scores fix for ``share``, bool (N,); None
    where the others are too few for it."""
    names, codes = np.unique(patients, return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, codes, scores)
    ordered = np.sort(highest)
    k = rank(share, len(ordered) - 1)
    if k is None:
        return None
    without = np.where(highest <= ordered[k - 1], ordered[k], ordered[k - 1])  # the k-th without each patient
    above: NDArray[np.bool_] = scores > without[codes]
    return above
