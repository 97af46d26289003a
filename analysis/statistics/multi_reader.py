"""Multi-reader multi-case analysis of the AUROC: one modality's mean over readers, and the difference of two.

Obuchowski & Rockette 1995, Commun Stat Simul Comput 24:285, with the degrees of freedom of Hillis 2007, Stat Med
26:596, and the marginal-mean formulas of Hillis 2014, Stat Med 33:330. The model is θᵢⱼ = μ + τᵢ + Rⱼ + (τR)ᵢⱼ + εᵢⱼ
for modality i and reader j. The errors ε have one variance and three covariances: Cov1 of one reader in two modalities,
Cov2 of two readers in one modality, Cov3 of two readers in two modalities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import (
    Auroc,
    AurocDifference,
    auroc_interval,
    clustered_covariance,
    delong_paired,
    placements,
    sums_by_patient,
)
from analysis.statistics.sample import FloatArray, Sample, normal_quantile, take_sample

Covariance = Literal["delong", "jackknife"]
Readers = Literal["random", "fixed"]

ENOUGH_READERS = 5  # with fewer, how readers vary cannot be estimated well
NO_VARIANCE = 1e-15  # rounding leaves less than this where the variance of an AUROC is zero


@dataclass(frozen=True)
class MeanAuroc:
    """The mean AUROC over readers, value, low and high in [0, 1]; None, with a `reason`, where it cannot be computed.

    readers: "random" takes the readers as drawn from all such readers, "fixed" speaks of these readers only; the films
    are random in both. degrees_of_freedom of the t distribution; None where the normal distribution is used.
    """

    readers: Readers
    value: float | None
    standard_error: float | None
    degrees_of_freedom: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class MeanDifference:
    """The mean AUROC of the first modality minus that of the second, in [−1, 1]; fields as in `MeanAuroc`.

    statistic is t, or z for fixed readers; its square is the F or χ² statistic that is published with one degree of
    freedom in the numerator. p_value is two-sided, of no difference.
    """

    readers: Readers
    value: float | None
    standard_error: float | None
    statistic: float | None
    degrees_of_freedom: float | None
    p_value: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class VarianceComponents:
    """Variances and covariances of the AUROCs; None where they need two readers.

    reader (σ²_R) and modality_by_reader (σ²_TR) are estimates by the method of moments, which may be negative; error is
    the mean variance of an AUROC over films. The mean squares are those of the table modalities × readers.
    """

    reader: float | None
    modality_by_reader: float | None
    error: float
    cov1: float
    cov2: float | None
    cov3: float | None
    mean_square_modality: float
    mean_square_reader: float | None
    mean_square_interaction: float | None


@dataclass(frozen=True)
class MultiReaderAuroc:
    """One modality. by_reader is in the order of the columns; films_rated counts each reader's ratings.

    `readers` names the analysis to quote, which is `mean`: random from five readers on, fixed below. The counts of
    films and patients are those of the films with a rating of every reader; left_out counts the others.
    """

    by_reader: tuple[Auroc, ...]
    random: MeanAuroc
    fixed: MeanAuroc
    readers: Readers
    mean_square_reader: float | None
    error: float | None
    cov2: float | None
    films_rated: tuple[int, ...]
    positives: int
    negatives: int
    positive_patients: int
    negative_patients: int
    left_out: int
    covariance: Covariance
    confidence: float
    reason: str = ""

    @property
    def mean(self) -> MeanAuroc:
        return self.random if self.readers == "random" else self.fixed


@dataclass(frozen=True)
class MultiReaderDifference:
    """Two modalities on the same films by the same readers; `readers` and `reason` as in `MultiReaderAuroc`.

    first and second use only the films that every reader rated in both modalities.
    """

    first: MultiReaderAuroc
    second: MultiReaderAuroc
    by_reader: tuple[AurocDifference, ...]
    random: MeanDifference
    fixed: MeanDifference
    readers: Readers
    components: VarianceComponents | None
    films_rated: tuple[int, ...]
    left_out: int
    covariance: Covariance
    confidence: float
    reason: str = ""

    @property
    def mean(self) -> MeanDifference:
        return self.random if self.readers == "random" else self.fixed


def multi_reader_auroc(
    labels: ArrayLike,
    ratings: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    covariance: Covariance = "delong",
    confidence: float = 0.95,
) -> MultiReaderAuroc:
    """The mean AUROC of ratings (N, R) of R readers, such as the likelihood of abnormality from 0 to 100, NaN where
    missing; labels (N,) of 0 and 1, patients (N,) or None where every film is its own patient.

    A film without a rating of every reader is left out. The variance of the mean is MS(R)/R + max(Cov2, 0) with
    (R−1) [1 + R max(Cov2, 0) / MS(R)]² degrees of freedom for random readers, and [error + (R−1) max(Cov2, 0)]/R with
    the normal distribution for fixed ones (Hillis 2014). The intervals are symmetric and clipped to [0, 1]. Covariances
    are DeLong's, clustered by patient as Obuchowski 1997 where a patient has several films, or those of the jackknife
    that leaves out one patient at a time. Raises ValueError where shapes do not match, for other labels, for another
    covariance and for a confidence outside (0, 1).
    """
    columns = _ratings("ratings", ratings)
    _refuse(covariance, confidence)
    sample = take_sample(labels, columns, patients)
    rated = tuple(int(count) for count in np.isfinite(columns).sum(axis=0))
    return _one_modality(sample, rated=rated, covariance=covariance, confidence=confidence)


def multi_reader_difference(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    covariance: Covariance = "delong",
    confidence: float = 0.95,
) -> MultiReaderDifference:
    """The difference of the mean AUROCs of two modalities, first minus second, such as aided minus unaided: ratings
    (N, R) each, column j by reader j; otherwise as `multi_reader_auroc`.

    A film without a rating of every reader in both is left out. The variance of the difference is 2/R times
    MS(T·R) + R max(Cov2 − Cov3, 0) with (R−1) [1 + R max(Cov2 − Cov3, 0) / MS(T·R)]² degrees of freedom for random
    readers (Hillis 2007), and 2/R times error − Cov1 + (R−1) max(Cov2 − Cov3, 0) with the normal distribution for fixed
    ones. The interval is symmetric and clipped to [−1, 1].
    """
    one, two = _ratings("first", first), _ratings("second", second)
    if one.shape != two.shape:
        raise ValueError(f"first {one.shape} and second {two.shape} must have the same films and the same readers")
    _refuse(covariance, confidence)
    readers = one.shape[1]
    sample = take_sample(labels, np.hstack([one, two]), patients)
    rated = tuple(int(count) for count in (np.isfinite(one) & np.isfinite(two)).sum(axis=0))
    halves = [
        _one_modality(_columns(sample, part), rated=rated, covariance=covariance, confidence=confidence)
        for part in (slice(0, readers), slice(readers, None))
    ]
    by_reader = tuple(
        delong_paired(
            sample.abnormal, sample.scores[:, j], sample.scores[:, readers + j], sample.patients, confidence=confidence
        )
        for j in range(readers)
    )
    reason = _why_no_mean(sample)
    components = None
    value = None if reason else float(np.subtract(*_mean_areas(sample)))
    reason = reason or sample.why_no_interval()
    if reason:
        random = _no_difference("random", value, reason)
        fixed = _no_difference("fixed", value, reason)
    else:
        assert value is not None
        components = _components(sample, covariance)
        random = _random_difference(components, value, readers=readers, confidence=confidence)
        fixed = _fixed_difference(components, value, readers=readers, confidence=confidence)
    return MultiReaderDifference(
        first=halves[0],
        second=halves[1],
        by_reader=by_reader,
        random=random,
        fixed=fixed,
        readers=_which(readers),
        components=components,
        films_rated=rated,
        left_out=sample.left_out,
        covariance=covariance,
        confidence=confidence,
        reason=reason,
    )


def _ratings(name: str, ratings: ArrayLike) -> FloatArray:
    columns = np.asarray(ratings, dtype=np.float64)
    if columns.ndim != 2:
        raise ValueError(f"{name} has shape {columns.shape}; expected (films, readers)")
    return columns


def _refuse(covariance: str, confidence: float) -> None:
    if covariance not in ("delong", "jackknife"):
        raise ValueError(f"covariance is {covariance!r}; it must be 'delong' or 'jackknife'")
    normal_quantile(confidence)


def _columns(sample: Sample, part: slice) -> Sample:
    return Sample(sample.abnormal, sample.scores[:, part], sample.patients, sample.films, sample.left_out)


def _which(readers: int) -> Readers:
    return "random" if readers >= ENOUGH_READERS else "fixed"


def _why_no_mean(sample: Sample) -> str:
    if not sample.scores.shape[1]:
        return "No reader has rated a film."
    if sample.positives and sample.negatives:
        return ""
    return (
        f"Abnormal films with a rating of every reader: {sample.positives}, normal films: {sample.negatives}. "
        "An AUROC needs at least one of each."
    )


def _why_not_random(readers: int) -> str:
    return (
        f"With {readers} of at least {ENOUGH_READERS} readers, how readers vary is not known well enough: the readers "
        "are taken as fixed, and the result holds for these readers only."
    )


WITHOUT_VARIANCE = "These ratings leave no variance between films or readers, so there is no interval."


def _mean_areas(sample: Sample) -> tuple[float, float]:
    areas = placements(sample)[0].mean(axis=0).reshape(2, -1).mean(axis=1)
    return float(areas[0]), float(areas[1])


def _covariances(sample: Sample, covariance: Covariance) -> tuple[FloatArray, FloatArray]:
    """(K,) AUROC of each column and their (K, K) covariances."""
    positive, negative = placements(sample)
    areas: FloatArray = np.asarray(positive.mean(axis=0), dtype=np.float64)
    if covariance == "delong":
        return areas, clustered_covariance(sample, positive, negative)
    without = _areas_without_each_patient(sample, positive, negative)
    away = without - without.mean(axis=0)
    patients = len(away)
    return areas, (patients - 1) / patients * (away.T @ away)


def _areas_without_each_patient(sample: Sample, positive: FloatArray, negative: FloatArray) -> FloatArray:
    """(patients, K) AUROC of the other patients' films: the pairs won by all films, less those of the patient's."""
    codes = np.unique(sample.patients, return_inverse=True)[1]
    patients = int(codes.max()) + 1
    codes10, codes01 = codes[sample.abnormal], codes[~sample.abnormal]
    films10, films01 = len(codes10), len(codes01)
    counts10, counts01 = np.bincount(codes10, minlength=patients), np.bincount(codes01, minlength=patients)
    won = positive.sum(axis=0) * films01 - (
        films01 * sums_by_patient(positive, codes10, patients) + films10 * sums_by_patient(negative, codes01, patients)
    )
    for patient in np.flatnonzero((counts10 > 0) & (counts01 > 0)):  # pairs within a patient were taken off twice
        own = codes == patient
        inner = Sample(sample.abnormal[own], sample.scores[own], codes[own], sample.films[own], 0)
        won[patient] += placements(inner)[0].sum(axis=0) * counts01[patient]
    areas: FloatArray = won / ((films10 - counts10) * (films01 - counts01))[:, None]
    return areas


def _one_modality(
    sample: Sample, *, rated: tuple[int, ...], covariance: Covariance, confidence: float
) -> MultiReaderAuroc:
    readers = sample.scores.shape[1]
    by_reader = tuple(
        auroc_interval(sample.abnormal, sample.scores[:, j], sample.patients, confidence=confidence)
        for j in range(readers)
    )
    reason = _why_no_mean(sample)
    value = None if reason else float(placements(sample)[0].mean())
    reason = reason or sample.why_no_interval()
    mean_square = error = cov2 = None
    if reason:
        random, fixed = _no_mean("random", value, reason), _no_mean("fixed", value, reason)
    else:
        assert value is not None
        areas, matrix = _covariances(sample, covariance)
        error = float(np.diag(matrix).mean())
        if readers > 1:
            mean_square, cov2 = float(areas.var(ddof=1)), _off_diagonal(matrix)
        random = _random_mean(value, mean_square, cov2, readers=readers, confidence=confidence)
        variance = (error + (readers - 1) * max(cov2 or 0.0, 0.0)) / readers
        fixed = _mean("fixed", value, variance, degrees=math.inf, confidence=confidence)
    return MultiReaderAuroc(
        by_reader=by_reader,
        random=random,
        fixed=fixed,
        readers=_which(readers),
        mean_square_reader=mean_square,
        error=error,
        cov2=cov2,
        films_rated=rated,
        positives=sample.positives,
        negatives=sample.negatives,
        positive_patients=sample.positive_patients,
        negative_patients=sample.negative_patients,
        left_out=sample.left_out,
        covariance=covariance,
        confidence=confidence,
        reason=reason,
    )


def _random_mean(
    value: float, mean_square: float | None, cov2: float | None, *, readers: int, confidence: float
) -> MeanAuroc:
    if readers < ENOUGH_READERS or mean_square is None or cov2 is None:
        return _no_mean("random", value, _why_not_random(readers))
    denominator = mean_square + readers * max(cov2, 0.0)
    degrees = _degrees(denominator, mean_square, readers=readers)
    return _mean("random", value, denominator / readers, degrees=degrees, confidence=confidence)


def _mean(readers: Readers, value: float, variance: float, *, degrees: float, confidence: float) -> MeanAuroc:
    if variance <= NO_VARIANCE:
        return _no_mean(readers, value, WITHOUT_VARIANCE)
    error = math.sqrt(variance)
    half = _quantile(confidence, degrees) * error
    return MeanAuroc(
        readers=readers,
        value=value,
        standard_error=error,
        degrees_of_freedom=degrees if math.isfinite(degrees) else None,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
    )


def _no_mean(readers: Readers, value: float | None, reason: str) -> MeanAuroc:
    return MeanAuroc(
        readers=readers, value=value, standard_error=None, degrees_of_freedom=None, low=None, high=None, reason=reason
    )


def _components(sample: Sample, covariance: Covariance) -> VarianceComponents:
    areas, matrix = _covariances(sample, covariance)
    readers = len(areas) // 2
    table = areas.reshape(2, readers)
    cross = matrix[:readers, readers:]
    error, cov1 = float(np.diag(matrix).mean()), float(np.diag(cross).mean())
    by_modality = table.mean(axis=1)
    ms_modality = readers * float(by_modality.var(ddof=1))
    if readers < 2:
        return VarianceComponents(
            reader=None, modality_by_reader=None, error=error, cov1=cov1, cov2=None, cov3=None,
            mean_square_modality=ms_modality, mean_square_reader=None, mean_square_interaction=None,
        )  # fmt: skip
    ms_reader = 2 * float(table.mean(axis=0).var(ddof=1))
    residual = table - by_modality[:, None] - table.mean(axis=0)[None, :] + table.mean()
    ms_interaction = float((residual**2).sum()) / (readers - 1)
    cov2 = (_off_diagonal(matrix[:readers, :readers]) + _off_diagonal(matrix[readers:, readers:])) / 2
    cov3 = _off_diagonal(cross)
    return VarianceComponents(
        reader=(ms_reader - ms_interaction) / 2 - cov1 + cov3,
        modality_by_reader=ms_interaction - error + cov1 + max(cov2 - cov3, 0.0),
        error=error,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
        mean_square_modality=ms_modality,
        mean_square_reader=ms_reader,
        mean_square_interaction=ms_interaction,
    )


def _off_diagonal(matrix: FloatArray) -> float:
    """The mean of a square matrix without its diagonal."""
    size = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (size * (size - 1)))


def _shared(components: VarianceComponents) -> float:
    """max(Cov2 − Cov3, 0), and 0 for one reader."""
    if components.cov2 is None or components.cov3 is None:
        return 0.0
    return max(components.cov2 - components.cov3, 0.0)


def _random_difference(
    components: VarianceComponents, value: float, *, readers: int, confidence: float
) -> MeanDifference:
    mean_square = components.mean_square_interaction
    if readers < ENOUGH_READERS or mean_square is None:
        return _no_difference("random", value, _why_not_random(readers))
    denominator = mean_square + readers * _shared(components)
    degrees = _degrees(denominator, mean_square, readers=readers)
    return _difference("random", value, 2 * denominator / readers, degrees=degrees, confidence=confidence)


def _fixed_difference(
    components: VarianceComponents, value: float, *, readers: int, confidence: float
) -> MeanDifference:
    denominator = components.error - components.cov1 + (readers - 1) * _shared(components)
    return _difference("fixed", value, 2 * denominator / readers, degrees=math.inf, confidence=confidence)


def _difference(
    readers: Readers, value: float, variance: float, *, degrees: float, confidence: float
) -> MeanDifference:
    if variance <= NO_VARIANCE:
        return _no_difference(readers, value, WITHOUT_VARIANCE)
    error = math.sqrt(variance)
    half = _quantile(confidence, degrees) * error
    return MeanDifference(
        readers=readers,
        value=value,
        standard_error=error,
        statistic=value / error,
        degrees_of_freedom=degrees if math.isfinite(degrees) else None,
        p_value=_two_sided(value / error, degrees),
        low=max(-1.0, value - half),
        high=min(1.0, value + half),
    )


def _no_difference(readers: Readers, value: float | None, reason: str) -> MeanDifference:
    return MeanDifference(
        readers=readers, value=value, standard_error=None, statistic=None, degrees_of_freedom=None, p_value=None,
        low=None, high=None, reason=reason,
    )  # fmt: skip


def _degrees(denominator: float, mean_square: float, *, readers: int) -> float:
    """Hillis' degrees of freedom, (R − 1) (denominator / mean square)²; infinite where readers do not differ."""
    if mean_square <= NO_VARIANCE:
        return math.inf
    return (readers - 1) * (denominator / mean_square) ** 2


def _quantile(confidence: float, degrees: float) -> float:
    from scipy.special import stdtrit

    if math.isinf(degrees):
        return normal_quantile(confidence)
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def _two_sided(statistic: float, degrees: float) -> float:
    from scipy.special import ndtr, stdtr

    if math.isinf(degrees):
        return 2 * float(ndtr(-abs(statistic)))
    return 2 * float(stdtr(degrees, -abs(statistic)))
