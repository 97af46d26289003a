"""Free-response ROC: share of lesions hit against false positives per film, with a bootstrap interval over films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.counts import wilson_limits
from analysis.statistics.localisation import Located, take_located, why_no_lesions, why_no_spread
from analysis.statistics.sample import BoolArray, FloatArray, IntArray, normal_quantile, resampled_weights

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Froc:
    """The curve, arrays (P,) float64 by falling threshold, and the sensitivities at fixed rates, (R,) float64; empty,
    with a `reason`, where no film has a lesion.

    A mark counts when its score is at least the threshold; the first threshold is +inf. sensitivity is the share of
    lesions with a mark inside; false_positives_per_film is the number of marks outside every lesion, divided by the
    number of all films, with or without lesions. at_rates[r] is the highest sensitivity with at most rates[r] false
    positives per film, low and high its pointwise interval; mean_sensitivity is the mean of at_rates (LUNA16's score at
    its seven rates, the default).
    """

    false_positives_per_film: FloatArray
    sensitivity: FloatArray
    thresholds: FloatArray
    rates: FloatArray
    at_rates: FloatArray
    low: FloatArray
    high: FloatArray
    mean_sensitivity: float | None
    mean_low: float | None
    mean_high: float | None
    films: int
    lesions: int
    left_out: int
    confidence: float
    replicates: int
    seed: int
    reason: str = ""


@dataclass(frozen=True)
class _Marks:
    """Of the marks of all films, (M,): scores, films, and whether they hit no lesion. Of the lesions, (L,): the highest
    score of a mark inside, −inf without one, and their films."""

    scores: FloatArray
    films: IntArray
    false: BoolArray
    lesion_scores: FloatArray
    lesion_films: IntArray


def peaks(values: ArrayLike, *, distance: float) -> IntArray:
    """(M, 2) int64 rows and columns of the local maxima of a map (H, W), highest first, at least `distance` pixels
    apart.

    Of two that are nearer, the higher is kept; of equal ones, the first in row-major order. Pixels that are not finite
    are never maxima. Raises ValueError unless distance is at least 1.
    """
    from scipy.ndimage import maximum_filter

    if not distance >= 1:
        raise ValueError(f"distance is {distance}; it must be at least 1 pixel")
    scores = np.asarray(values, dtype=np.float64)
    seen = np.isfinite(scores)
    finite = np.where(seen, scores, -np.inf)
    spots = np.argwhere(seen & (finite == maximum_filter(finite, size=3, mode="nearest")))
    kept: list[IntArray] = []
    for spot in spots[np.argsort(-finite[tuple(spots.T)], kind="stable")]:
        if all(((spot - other) ** 2).sum() >= distance**2 for other in kept):
            kept.append(spot)
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def froc(
    maps: Sequence[ArrayLike],
    regions: Sequence[ArrayLike],
    patients: ArrayLike | None = None,
    *,
    distance: float = 3.0,
    rates: Sequence[float] = RATES,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Froc:
    """FROC (Bunch et al. 1978, J Appl Photogr Eng 4:166) of maps (H, W) and regions (L, H, W), both as in
    `analysis.statistics.localisation`, with patients or None. Marks are the `peaks` of the maps, at least `distance`
    pixels apart, none of them masked; further marks inside a lesion already hit are ignored.

    The intervals are percentiles over resamples of the patients, stratified into those with and without lesions;
    those at a rate are never narrower than Wilson's for the number of patients with a lesion, as in `roc_band`. Raises
    ValueError for rates that are not above 0, for maps and regions that do not match and for a confidence outside
    (0, 1).
    """
    rate_values = np.asarray(rates, dtype=np.float64)
    if not len(rate_values) or not (rate_values > 0).all():
        raise ValueError(f"rates are {rate_values.tolist()}; they must be above 0 false positives a film")
    z = normal_quantile(confidence)
    located = take_located(maps, regions, patients)
    count, none = len(located.scores), np.empty(0)
    result = Froc(
        false_positives_per_film=none, sensitivity=none, thresholds=none, rates=rate_values, at_rates=none,
        low=none, high=none, mean_sensitivity=None, mean_low=None, mean_high=None,
        films=count, lesions=int(located.lesions.sum()), left_out=located.left_out,
        confidence=confidence, replicates=replicates, seed=seed, reason=why_no_lesions(located),
    )  # fmt: skip
    if result.reason:
        return result
    marks = _marks(located, distance=distance)
    false_positives, sensitivity, thresholds = _curve(marks, films=count)
    at_rates = _at_rates(marks, np.ones((1, count), dtype=np.int64), rate_values)[0]
    result = replace(
        result, false_positives_per_film=false_positives, sensitivity=sensitivity, thresholds=thresholds,
        at_rates=at_rates, mean_sensitivity=float(at_rates.mean()), reason=why_no_spread(located),
    )  # fmt: skip
    if result.reason:
        return result
    blocks = resampled_weights(located.sample(), replicates=replicates, seed=seed)
    drawn = np.concatenate([_at_rates(marks, block, rate_values) for block in blocks])
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(drawn, tails, axis=0)
    people = len(np.unique(located.patients[located.lesions > 0]))
    floor, ceiling = wilson_limits(at_rates, people, z)
    mean_low, mean_high = np.quantile(drawn.mean(axis=1), tails)
    return replace(
        result,
        low=np.minimum(low, floor),
        high=np.maximum(high, ceiling),
        mean_low=float(mean_low),
        mean_high=float(mean_high),
    )


def _marks(located: Located, *, distance: float) -> _Marks:
    scores, films, false, lesion_scores, lesion_films = [], [], [], [], []
    for film, (values, planes) in enumerate(zip(located.scores, located.regions, strict=True)):
        rows, columns = peaks(values, distance=distance).T
        height = values[rows, columns]
        hits = planes[:, rows, columns]  # (L, M)
        scores.append(height)
        films.append(np.full(len(height), film))
        false.append(~hits.any(axis=0))
        lesion_scores.append(np.where(hits, height, -np.inf).max(axis=1, initial=-np.inf))
        lesion_films.append(np.full(len(planes), film))
    return _Marks(
        np.concatenate(scores), np.concatenate(films), np.concatenate(false), np.concatenate(lesion_scores),
        np.concatenate(lesion_films),
    )  # fmt: skip


def _curve(marks: _Marks, *, films: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """False positives per film, sensitivity and threshold at +inf and at each distinct score, falling."""
    thresholds = np.r_[np.inf, np.unique(marks.scores)[::-1]]
    false = np.sort(marks.scores[marks.false])
    lesions = np.sort(marks.lesion_scores)
    alarms = np.asarray(len(false) - np.searchsorted(false, thresholds), dtype=np.float64)
    hits = np.asarray(len(lesions) - np.searchsorted(lesions, thresholds), dtype=np.float64)
    return alarms / films, hits / len(lesions), thresholds


def _at_rates(marks: _Marks, weights: IntArray, rates: FloatArray) -> FloatArray:
    """(B, R) sensitivity at each rate for B weightings (B, F) of the films.

    The G distinct scores of false marks are taken in falling order while their number stays within the rate. The rank
    of a lesion is the number of these scores that are at least as high as its best mark, G + 1 where it has none; it is
    hit when that many scores are within the rate.
    """
    false_scores, false_films = marks.scores[marks.false], marks.films[marks.false]
    order = np.argsort(-false_scores, kind="stable")
    ranked = false_scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] < ranked[:-1], True]) if len(ranked) else np.empty(0, dtype=np.int64)
    groups = len(ends)
    false = np.cumsum(weights[:, false_films[order]], axis=1)[:, ends]  # (B, G)
    allowed = rates * weights.sum(axis=1, keepdims=True)  # (B, R)
    ranks = groups - np.searchsorted(ranked[ends][::-1], marks.lesion_scores)
    ranks = np.where(np.isfinite(marks.lesion_scores), ranks, groups + 1)
    result = np.empty(allowed.shape)
    for row, counted in enumerate(weights):
        hits = np.cumsum(np.bincount(ranks, weights=counted[marks.lesion_films], minlength=groups + 2))
        within = np.searchsorted(false[row], allowed[row] + 1e-9, side="right")
        result[row] = hits[within] / hits[-1]
    return result
