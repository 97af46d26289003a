"""Agreement of readers: Cohen's kappa for two, or for one reader's repeats; Krippendorff's alpha for any number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.sample import BLOCK_ELEMENTS, FloatArray, normal_quantile

Weights = Literal["none", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]

ENOUGH = 0.9  # share of the resamples that must have an alpha before their percentiles make an interval
ENOUGH_REPEATS = 30  # films read twice that a reader's agreement with themselves needs


@dataclass(frozen=True)
class Kappa:
    """Agreement of two readers beyond chance: 1 is full agreement, 0 is chance, negative is worse than chance.

    observed and expected are the (weighted) shares of agreement, in [0, 1]; categories are in rising order. Numbers
    that cannot be computed are None, with a `reason`.
    """

    kappa: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    observed: float | None
    expected: float | None
    films: int
    left_out: int
    categories: tuple[float, ...]
    weights: Weights
    confidence: float
    reason: str = ""


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha with the percentile interval of a bootstrap by film; None, with a `reason`, where undefined.

    films counts those with at least two readings, and readings the readings of these films; left_out counts the films
    with fewer.
    """

    alpha: float | None
    low: float | None
    high: float | None
    films: int
    readings: int
    left_out: int
    level: Level
    confidence: float
    replicates: int
    seed: int
    reason: str = ""


def cohen_kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: Weights = "none",
    categories: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Kappa:
    """Cohen's kappa of the readings (N,) of two readers, as numbers of categories; NaN where a reader has none.

    The weight of agreement between categories i and j, their indices in the rising order of `categories` (default: of
    the categories that occur), is 1 where i = j and 0 elsewhere ("none"), 1 − |i − j| / (C − 1) ("linear") or
    1 − (i − j)² / (C − 1)² ("quadratic"). The variance is {Σ pᵢⱼ [wᵢⱼ − (w̄ᵢ. + w̄.ⱼ) (1 − κ)]² − [κ − pₑ (1 − κ)]²} /
    (N (1 − pₑ)²), of Fleiss, Cohen & Everitt 1969, Psychol Bull 72:323, not the one under chance. The interval is
    symmetric, clipped to [−1, 1], and treats films as independent. Raises ValueError for other weights, for readings
    outside `categories`, for shapes that do not match and for a confidence outside (0, 1).
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != two.shape:
        raise ValueError(f"first {one.shape} and second {two.shape} must have one reading for each film")
    z = normal_quantile(confidence)
    both = np.isfinite(one) & np.isfinite(two)
    names = np.unique(np.r_[one[both], two[both]] if categories is None else np.asarray(categories, dtype=np.float64))
    agreement = _agreement_weights(weights, len(names))
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (_category_indices(one[both], names), _category_indices(two[both], names)), 1.0)
    films = int(table.sum())
    left_out = len(one) - films

    def result(*, reason: str = "", **numbers: float) -> Kappa:
        return Kappa(
            kappa=numbers.get("kappa"), standard_error=numbers.get("error"), low=numbers.get("low"),
            high=numbers.get("high"), observed=numbers.get("observed"), expected=numbers.get("expected"),
            films=films, left_out=left_out, categories=tuple(names.tolist()), weights=weights, confidence=confidence,
            reason=reason,
        )  # fmt: skip

    if not films:
        return result(reason="No film has a reading of both, so kappa is not defined.")
    shares = table / films
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    observed, expected = float((agreement * shares).sum()), float(rows @ agreement @ columns)
    if 1 - expected <= 1e-12:
        reason = "Both readers gave all films the same category: chance agreement is complete, so kappa is not defined."
        return result(observed=observed, expected=expected, reason=reason)
    kappa = (observed - expected) / (1 - expected)
    means = (agreement @ columns)[:, None] + (rows @ agreement)[None, :]  # w̄ᵢ. + w̄.ⱼ
    spread = float((shares * (agreement - means * (1 - kappa)) ** 2).sum()) - (kappa - expected * (1 - kappa)) ** 2
    error = math.sqrt(max(spread, 0.0) / films) / (1 - expected)
    if error <= 1e-12:
        reason = "All readings agree, so the resamples do not vary: there is no interval."
        return result(kappa=kappa, error=0.0, observed=observed, expected=expected, reason=reason)
    low, high = max(-1.0, kappa - z * error), min(1.0, kappa + z * error)
    return result(kappa=kappa, error=error, low=low, high=high, observed=observed, expected=expected)


def repeat_kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: Weights = "none",
    categories: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Kappa:
    """`cohen_kappa` of one reader's first and second reading (N,) of the same films; all numbers are None, with a
    `reason`, below 30 films that were read twice."""
    kappa = cohen_kappa(first, second, weights=weights, categories=categories, confidence=confidence)
    if kappa.films >= ENOUGH_REPEATS:
        return kappa
    reason = f"Films read twice: {kappa.films}. The agreement of a reader with themselves needs {ENOUGH_REPEATS}."
    return replace(
        kappa, kappa=None, standard_error=None, low=None, high=None, observed=None, expected=None, reason=reason
    )


def krippendorff_alpha(
    readings: ArrayLike,
    *,
    level: Level = "nominal",
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Alpha:
    """Krippendorff's alpha of readings (films, readers) as numbers, NaN where a reader has not read the film.

    α = 1 − Dₒ / Dₑ (Krippendorff 2011, Computing Krippendorff's alpha-reliability). The difference of two values is 0
    or 1 (nominal), their squared difference (interval), or the squared difference of their mid-ranks among all paired
    readings (ordinal), which is his (Σ n_g − (n_c + n_k) / 2)². The interval is the percentiles over resampled films,
    each with all its readings; a resample of a single value has no alpha, and there is no interval where fewer than
    90 % of the resamples have one. Raises ValueError for another level, for readings of another shape and for a
    confidence outside (0, 1).
    """
    values = np.asarray(readings, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"readings have shape {values.shape}; expected (films, readers)")
    if level not in ("nominal", "ordinal", "interval"):
        raise ValueError(f"level is {level!r}; it must be 'nominal', 'ordinal' or 'interval'")
    normal_quantile(confidence)
    paired = np.isfinite(values).sum(axis=1) >= 2
    names, counts = _counts_by_film(values[paired])

    def result(alpha: float | None, low: float | None, high: float | None, reason: str) -> Alpha:
        return Alpha(
            alpha=alpha, low=low, high=high, films=len(counts), readings=int(counts.sum()),
            left_out=len(values) - len(counts), level=level, confidence=confidence, replicates=replicates, seed=seed,
            reason=reason,
        )  # fmt: skip

    if not len(counts):
        return result(None, None, None, "No film has two readings, so alpha is not defined.")
    alpha = float(_alphas(np.ones((1, len(counts))), counts, names, level)[0])
    if math.isnan(alpha):
        return result(
            None, None, None, "All readings are equal: chance agreement is complete, so alpha is not defined."
        )
    if len(counts) < 2:
        return result(alpha, None, None, "Only one film has two readings: an interval needs at least two.")
    resamples = _film_weights(len(counts), replicates=replicates, seed=seed, width=len(names))
    drawn = np.concatenate([_alphas(weights, counts, names, level) for weights in resamples])
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < ENOUGH * replicates:
        reason = f"Only {len(defined)} of {replicates} resamples hold more than one value: too few for an interval."
        return result(alpha, None, None, reason)
    if np.ptp(defined) <= 1e-12:
        return result(alpha, None, None, "All readings agree, so the resamples do not vary: there is no interval.")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return result(alpha, float(low), float(high), "")


def _agreement_weights(weights: Weights, categories: int) -> FloatArray:
    index = np.arange(categories, dtype=np.float64)
    distance: FloatArray = np.abs(index[:, None] - index[None, :])
    greatest = max(categories - 1, 1)
    if weights == "none":
        return np.equal(distance, 0).astype(np.float64)
    if weights == "linear":
        return np.subtract(1, distance / greatest)
    if weights == "quadratic":
        return np.subtract(1, np.square(distance / greatest))
    raise ValueError(f"weights is {weights!r}; it must be 'none', 'linear' or 'quadratic'")


def _category_indices(values: FloatArray, names: FloatArray) -> NDArray[np.intp]:
    indices = np.minimum(np.searchsorted(names, values), max(len(names) - 1, 0))
    if len(values) and not (len(names) and (names[indices] == values).all()):
        raise ValueError(f"readings hold values that are none of the categories {names.tolist()}")
    return indices


def _counts_by_film(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The C distinct values, rising, and how many readers chose each of them for each film, (F, C)."""
    seen = np.isfinite(values)
    names, codes = np.unique(values[seen], return_inverse=True)
    counts = np.zeros((len(values), len(names)))
    np.add.at(counts, (np.nonzero(seen)[0], codes), 1.0)
    return names, counts


def _film_weights(films: int, *, replicates: int, seed: int, width: int) -> Iterator[FloatArray]:
    """Blocks (b, F) of how often each film is drawn, `replicates` rows in all."""
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_ELEMENTS // (films * max(width, 1)))
    chances = np.full(films, 1 / films)
    for start in range(0, replicates, block):
        yield generator.multinomial(films, chances, size=min(block, replicates - start)).astype(np.float64)


def _alphas(weights: FloatArray, counts: FloatArray, names: FloatArray, level: Level) -> FloatArray:
    """(B,) alpha for B weightings (B, F) of the films, from the counts (F, C); NaN where all readings are one value.

    The sum of differences over ordered pairs of m readings is m² − Σ nᵥ² (nominal) or 2 (m Σ nᵥ v² − (Σ nᵥ v)²), of the
    readings of one film (inside) and of all paired readings together (overall).
    """
    readers = counts.sum(axis=1)  # (F,)
    totals = weights @ counts  # (B, C)
    paired = totals.sum(axis=1)  # (B,)
    if level == "nominal":
        inside = weights @ ((readers**2 - (counts**2).sum(axis=1)) / (readers - 1))
        overall = paired**2 - (totals**2).sum(axis=1)
    else:
        values = np.broadcast_to(names, totals.shape) if level == "interval" else totals.cumsum(axis=1) - totals / 2
        values = values - (totals * values).sum(axis=1, keepdims=True) / paired[:, None]  # centred: no cancellation
        sums, squares = values @ counts.T, values**2 @ counts.T  # (B, F)
        inside = (weights * 2 * (readers * squares - sums**2) / (readers - 1)).sum(axis=1)
        overall = 2 * paired * (totals * values**2).sum(axis=1)
    # Dₒ = inside / n and Dₑ = overall / (n (n − 1)), n being the number of paired readings
    alphas = np.full(len(weights), np.nan)
    np.divide(inside * (paired - 1), overall, out=alphas, where=overall > 1e-9 * paired)
    return 1 - alphas
