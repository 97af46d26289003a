"""AUROC within matched pairs: an abnormal film is compared with one normal film that is alike in a property."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.counts import wilson_limits
from analysis.statistics.sample import BoolArray, FloatArray, IntArray, Sample, normal_quantile, take_sample

CALIPER = 0.2  # standard deviations (Austin 2011, Pharm Stat 10:150)
MOST_AT_ONCE = 1000  # films that are assigned together: the time grows with the cube of their number


@dataclass(frozen=True)
class MatchedPairs:
    """The share of `pairs` in which the abnormal film scores above its normal partner, ties counting half.

    ``caliper`` is the largest difference within a pair, in units of the matched value. ``effective_pairs`` is the
    number of independent pairs with the same variance: `pairs` where no patient is in two pairs. abnormal_left and
    normal_left count the films without a partner, including those without a score, a value or a group. auroc and its
    limits are None, with a `reason`, where they cannot be computed.
    """

    auroc: float | None
    low: float | None
    high: float | None
    pairs: int
    effective_pairs: float | None
    abnormal_left: int
    normal_left: int
    caliper: float
    confidence: float
    reason: str = ""


def matched_auroc(
    labels: ArrayLike,
    scores: ArrayLike,
    values: ArrayLike,
    groups: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    caliper: float = CALIPER,
    confidence: float = 0.95,
) -> MatchedPairs:
    """The AUROC within pairs of `pair_films`, from labels (N,) of 0 and 1, scores (N,), the values (N,) and groups (N,)
    that pairs are matched by, and patients (N,) or None.

    `caliper` is in standard deviations of the value, the two classes' variances averaged. The limits are Wilson's,
    which hold for few pairs and near 0 and 1, and take the pairs as given. Where a patient is in several pairs they are
    those of the effective number p(1 − p) / variance; pairs are then dependent if they share a patient, in the variance
    Σ (xᵢ − p)(xⱼ − p) / P² over all dependent i, j (Aronow, Samii & Assenova 2015, Polit Anal 23:564), times m/(m−1)
    for m patients in the smaller class. A share of 0 or 1 has no variance: then m counts. Raises ValueError where the
    arrays do not match.
    """
    z = normal_quantile(confidence)
    sample, matched, names = _usable(labels, scores, values, groups, patients)
    widest = caliper * _deviation(matched, sample.abnormal)
    pairs = pair_films(sample.abnormal, matched, names, sample.patients, widest=widest)
    truth = np.asarray(labels)
    normal_left, abnormal_left = (int(np.count_nonzero(truth == label)) - len(pairs) for label in (0, 1))
    if not len(pairs):
        return MatchedPairs(
            auroc=None, low=None, high=None, pairs=0, effective_pairs=None, abnormal_left=abnormal_left,
            normal_left=normal_left, caliper=widest, confidence=confidence,
            reason="No abnormal film has a normal film of another patient that is alike.",
        )  # fmt: skip
    difference = sample.scores[pairs[:, 0], 0] - sample.scores[pairs[:, 1], 0]
    won = np.where(difference > 0, 1.0, np.where(difference < 0, 0.0, 0.5))
    share = float(won.mean())
    effective = _effective_pairs(won, sample.patients[pairs])
    low, high = wilson_limits(np.array([share]), effective, z) if effective else (None, None)
    return MatchedPairs(
        auroc=share,
        low=None if low is None else float(low[0]),
        high=None if high is None else float(high[0]),
        pairs=len(pairs),
        effective_pairs=effective,
        abnormal_left=abnormal_left,
        normal_left=normal_left,
        caliper=widest,
        confidence=confidence,
        reason="" if effective else "All pairs share a patient: an interval needs at least two of each class.",
    )


def pair_films(
    abnormal: BoolArray, values: FloatArray, groups: ArrayLike, patients: IntArray, *, widest: float
) -> IntArray:
    """(P, 2) int64: indices of an abnormal film and its normal partner, in rising order of the abnormal film.

    A pair has one group, two patients, and values at most `widest` apart; each film is in one pair at most. Within a
    group the pairs are as many as possible, and among those the sum of their differences is the lowest: an optimal
    assignment, which unlike greedy matching does not depend on the order of the films. A group of more than
    `MOST_AT_ONCE` films is cut into films of neighbouring values, each assigned on its own, so that pairs across a cut
    are missed.
    """
    names = np.asarray(groups)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        members = members[np.argsort(values[members], kind="stable")]
        for block in np.array_split(members, math.ceil(len(members) / MOST_AT_ONCE)):
            pairs.append(_assigned(block, abnormal, values, patients, widest))
    joined = np.concatenate(pairs)
    return joined[np.argsort(joined[:, 0])]


def _assigned(block: IntArray, abnormal: BoolArray, values: FloatArray, patients: IntArray, widest: float) -> IntArray:
    from scipy.optimize import linear_sum_assignment

    ill, well = block[abnormal[block]], block[~abnormal[block]]
    apart = np.abs(values[ill][:, None] - values[well])
    allowed = (apart <= widest) & (patients[ill][:, None] != patients[well])
    # A forbidden pair costs more than all allowed ones together, so that there are as few of them as possible.
    cost = np.where(allowed, apart, (len(block) + 1) * max(widest, 1e-300))
    rows, columns = linear_sum_assignment(cost)
    kept = allowed[rows, columns]
    return np.stack([ill[rows[kept]], well[columns[kept]]], axis=1).astype(np.int64)


def _usable(
    labels: ArrayLike, scores: ArrayLike, values: ArrayLike, groups: ArrayLike, patients: ArrayLike | None
) -> tuple[Sample, FloatArray, NDArray[np.str_]]:
    """The films with a score, a value and a group; a blank group is none."""
    columns = np.stack([np.asarray(scores, float), np.asarray(values, float)], axis=-1)
    names = np.asarray(groups).astype(str)
    if names.shape != np.shape(labels):
        raise ValueError(f"groups {names.shape} must name one group for each of the {len(np.asarray(labels))} films")
    columns[names == "", 1] = np.nan
    sample = take_sample(labels, columns, patients)
    return sample, sample.scores[:, 1], names[sample.films]


def _deviation(values: FloatArray, abnormal: BoolArray) -> float:
    """The root of the mean of both classes' variances; 0 where a class has fewer than two films."""
    if min(np.count_nonzero(abnormal), np.count_nonzero(~abnormal)) < 2:
        return 0.0
    return math.sqrt((float(values[abnormal].var(ddof=1)) + float(values[~abnormal].var(ddof=1))) / 2)


def _effective_pairs(won: FloatArray, patients: IntArray) -> float | None:
    """From who won (P,) and the patients of each pair (P, 2); None where all pairs have one patient in common."""
    codes = np.unique(patients, return_inverse=True)[1].reshape(patients.shape)
    fewest = min(len(np.unique(codes[:, side])) for side in (0, 1))
    if fewest < 2:
        return None
    if len(np.unique(codes)) == codes.size:
        return float(len(won))
    share = float(won.mean())
    if not 0.0 < share < 1.0:
        return float(fewest)
    away = won - share
    by_patient = sum(np.bincount(codes[:, side], weights=away, minlength=codes.max() + 1) for side in (0, 1))
    same = np.unique(np.sort(codes, axis=1), axis=0, return_inverse=True)[1].ravel()  # pairs of the same two patients
    twice = np.bincount(same, weights=away)  # they share both, and were summed twice
    total = float((np.asarray(by_patient) ** 2).sum() - (twice**2).sum())
    variance = fewest / (fewest - 1) * total / len(won) ** 2
    return min(float(len(won)), share * (1 - share) / variance) if variance > 0 else float(len(won))
