"""Agreement of the readers of a double reading: share, Cohen's kappa and Krippendorff's alpha, by patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import BLOCK_ELEMENTS, FloatArray, IntArray, normal_quantile

ENOUGH = 0.9  # share of the resamples that must have a value before their percentiles make an interval
NO_VALUES = "All readings are equal: chance agreement is complete, so it is not defined."


@dataclass(frozen=True)
class AgreementMeasure:
    """A measure of agreement with the percentile interval of a bootstrap by patient; None, with a `reason`, where it is
    not defined."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class DoubleReadingAgreement:
    """AgreementMeasure over the films with two or more readings.

    share: the mean over films of the share of agreeing pairs of readings, in [0, 1]; of two readers the share of films
    on which they agree. kappa: Cohen's, of two readers, over the films that both read, else None. alpha: Krippendorff's
    (nominal), for any number of readers, also where readings are missing. left_out counts films with fewer than two
    readings.
    """

    films: int
    patients: int
    left_out: int
    share: AgreementMeasure
    kappa: AgreementMeasure | None
    alpha: AgreementMeasure
    confidence: float
    replicates: int
    seed: int


def double_reading_agreement(
    readings: ArrayLike,
    patients: ArrayLike,
    *,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> DoubleReadingAgreement:
    """Agreement of readings (F, R), numbers of categories with NaN where a reader has none, of films of patients (F,).

    Patients are drawn with replacement, each with all their films. Cohen's kappa is (pₒ − pₑ) / (1 − pₑ) over the table
    of both readers; alpha is 1 − Dₒ / Dₑ with differences of 0 and 1 (Krippendorff 2011). A resample with a single
    category has neither; there is no interval where fewer than 90 % have one, or where they do not vary. Raises
    ValueError for shapes that do not match and for a confidence outside (0, 1).
    """
    values, names = np.asarray(readings, dtype=np.float64), np.asarray(patients)
    if values.ndim != 2 or names.shape != (len(values),):
        raise ValueError(f"readings {values.shape} and patients {names.shape}: expected (films, readers) and (films,)")
    normal_quantile(confidence)
    read = np.isfinite(values)
    paired = read.sum(axis=1) >= 2
    values, codes = values[paired], np.unique(names[paired], return_inverse=True)[1]
    counts = _counts(values)
    has_two_readers = values.shape[1] == 2

    def measured(measure: Callable[[FloatArray], FloatArray]) -> AgreementMeasure:
        return _measured(measure, codes, confidence=confidence, replicates=replicates, seed=seed)

    return DoubleReadingAgreement(
        films=len(values),
        patients=int(codes.max()) + 1 if len(codes) else 0,
        left_out=int((~paired).sum()),
        share=measured(_shares(counts)),
        kappa=measured(_kappas(values)) if has_two_readers else None,
        alpha=measured(_alphas(counts)),
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )


def _measured(
    measure: Callable[[FloatArray], FloatArray], codes: IntArray, *, confidence: float, replicates: int, seed: int
) -> AgreementMeasure:
    if not len(codes):
        return AgreementMeasure(None, None, None, "No film has two readings, so it is not defined.")
    value = float(measure(np.ones((1, len(codes))))[0])
    if np.isnan(value):
        return AgreementMeasure(None, None, None, NO_VALUES)
    patients = int(codes.max()) + 1
    if patients < 2:
        return AgreementMeasure(value, None, None, "All films are of one patient: an interval needs at least two.")
    generator = np.random.default_rng(seed)
    block, chances = max(1, BLOCK_ELEMENTS // (len(codes) * 16)), np.full(patients, 1 / patients)
    drawn = np.concatenate(
        [
            measure(generator.multinomial(patients, chances, size=rows)[:, codes].astype(np.float64))
            for start in range(0, replicates, block)
            for rows in [min(block, replicates - start)]
        ]
    )
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < ENOUGH * replicates:
        reason = f"Only {len(defined)} of {replicates} resamples hold more than one category: too few for an interval."
        return AgreementMeasure(value, None, None, reason)
    if np.ptp(defined) <= 1e-12:
        return AgreementMeasure(value, None, None, "The resamples do not vary, so there is no interval.")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return AgreementMeasure(value, float(low), float(high))


def _counts(values: FloatArray) -> FloatArray:
    """(F, C): how many readers chose each category for each film."""
    categories = np.unique(values[np.isfinite(values)])
    return np.asarray((values[:, :, None] == categories).sum(axis=1), dtype=np.float64)


def _shares(counts: FloatArray) -> Callable[[FloatArray], FloatArray]:
    readers = counts.sum(axis=1)
    of_film = (counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))
    return lambda weights: np.asarray(weights @ of_film / weights.sum(axis=1))


def _kappas(values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    categories = np.unique(values)
    one, two = ((values[:, [column]] == categories).astype(np.float64) for column in (0, 1))  # (F, C)
    agree = (one * two).sum(axis=1)

    def kappas(weights: FloatArray) -> FloatArray:
        films = weights.sum(axis=1)
        observed = weights @ agree / films
        expected = ((weights @ one) * (weights @ two)).sum(axis=1) / films**2
        kappa = np.full(len(weights), np.nan)
        np.divide(observed - expected, 1 - expected, out=kappa, where=1 - expected > 1e-12)
        return kappa

    return kappas


def _alphas(counts: FloatArray) -> Callable[[FloatArray], FloatArray]:
    readers = counts.sum(axis=1)
    differing = (readers**2 - (counts**2).sum(axis=1)) / (readers - 1)

    def alphas(weights: FloatArray) -> FloatArray:
        totals = weights @ counts  # (B, C)
        paired = totals.sum(axis=1)
        overall = paired**2 - (totals**2).sum(axis=1)
        ratio = np.full(len(weights), np.nan)
        np.divide((weights @ differing) * (paired - 1), overall, out=ratio, where=overall > 1e-9 * paired)
        return 1 - ratio

    return alphas
