"""Calibration on normal films: standardisation per position, thresholds, p-values, and folds by patient."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.score import conformal
from ml_engine.core.score.film_scores import COMBINED
from ml_engine.core.score.fusion import Maps
from ml_engine.core.score.held_out import moments_of_others

LEAST_FILMS = 2
STD_FLOOR = 1e-3  # share of the channel's median deviation, for positions where all normal films score equally


def standardisation(maps: Maps) -> tuple[Maps, Maps]:
    """Mean and standard deviation of the maps of normal films (N, 2, h, w), each float32 (2, h, w).

    The standard deviation divides by N - 1 and is at least a thousandth of its channel's median. Both are NaN at
    masked patches. Raises EngineError for fewer than two films and for a film that is NaN at any other patch. Our
    choice; the paper fuses raw maps.
    """
    if len(maps) < LEAST_FILMS:
        raise too_few(len(maps), "calibrate")
    missing = np.isnan(maps)
    broken = int((missing & ~missing.all(axis=0)).any(axis=(1, 2, 3)).sum())
    if broken:
        raise EngineError(
            f"{broken} of the {len(maps)} calibration films {'has' if broken == 1 else 'have'} no score at a patch "
            "where others have one; this happens when a film holds values that are not finite numbers: leave these "
            "films out, or export them again."
        )
    values = maps.astype(np.float64)
    mean = values.mean(axis=0)
    std = values.std(axis=0, ddof=1)
    _floor(std)
    return mean.astype(np.float32), std.astype(np.float32)


def _floor(std: NDArray[np.float64]) -> None:
    """Raise deviations (2, h, w) to `STD_FLOOR` of their channel's median, in place."""
    for channel in std:
        values = channel[~np.isnan(channel)]
        median = float(np.median(values)) if values.size else 0.0
        np.maximum(channel, median * STD_FLOOR if median > 0 else 1.0, out=channel, where=~np.isnan(channel))


def held_out_standardised(maps: Maps, patients: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """The maps of normal films (n, 2, h, w), each standardised by the mean and deviation of those of other patients.

    ``patients`` int64 (n,) are group numbers; without them each film is its own patient. If a film, or another one of
    its patient, also contributed to its own mean and deviation, its scores would be lower than those of a new patient:
    among n films none can lie further than (n - 1) / sqrt(n) deviations from the mean. With fewer than two films of
    other patients, all contribute.
    """
    values = maps.astype(np.float64)
    moments = moments_of_others(values, patients)
    if moments is None:
        mean, std = standardisation(maps)
        return (values - mean) / std
    mean_of_others, std_of_others = moments
    for film in std_of_others:
        _floor(film)
    held_out: NDArray[np.float64] = (values - mean_of_others) / std_of_others
    return held_out


def require_calibration(config: PipelineConfig) -> None:
    """Raises EngineError where ``config`` cannot do without normal films that were not fitted on: without a calibrate
    part they are folds of the fit part, which are not made with ``cross_fit`` off."""
    is_combined = COMBINED in config.tried("image_score")
    if not config.cross_fit and (config.standardise or is_combined):
        needs, instead = (
            ("standardise=yes", "standardise=no")
            if config.standardise
            else (f"image_score={COMBINED}", "image_score=top")
        )
        raise EngineError(
            f"The setting {needs} needs normal films that the model was not fitted on, but no film is in the calibrate "
            f"part, and cross_fit is off: put films into calibrate, or set cross_fit=yes or {instead}."
        )


def too_few(count: int, part: str) -> EngineError:
    """The error for a part with too few films or patients to standardise maps."""
    unit = "films" if part == "calibrate" else "patients"
    return EngineError(
        f"Standardising the maps needs at least {LEAST_FILMS} {unit} in the {part} part, and it has {count}: "
        "add films of more patients, or set standardise=no."
    )


def patch_threshold(fused: NDArray[np.float64], percentile: float) -> float:
    """The percentile (0-100) of all scored patches of the fused maps (N, h, w) of normal films; NaN without any.

    The paper thresholds the fused map (Fig. 16) without giving a value: the percentile is our choice.
    """
    values = fused[~np.isnan(fused)]
    return float(np.percentile(values, percentile)) if values.size else float("nan")


@dataclass(frozen=True)
class FilmThreshold:
    """A threshold of the fused map that a new normal film exceeds anywhere with a probability of at most ``rate``.

    ``patients`` is the number of calibration patients. ``expected`` is the false-alarm probability averaged over the
    draw of these patients, ``low`` to ``high`` its central 95 % interval for one draw; all are None where the maxima
    were not exchangeable with those of new films, as those of cross-fitted films.
    """

    value: float
    rate: float
    patients: int
    expected: float | None
    low: float | None
    high: float | None


def film_threshold(
    maxima: NDArray[np.float64], rate: float, *, patients: NDArray[np.int64] | None = None, exchangeable: bool = True
) -> FilmThreshold | None:
    """The max-statistic threshold from the maxima (n,) of the fused maps of n normal films.

    It is the k-th smallest of the patients' highest maxima, k = `conformal.rank` of 1 - rate; ``patients`` int64 (n,)
    are group numbers, without which each film is its own patient. Films without a score (NaN) do not count, and no
    abnormal film is needed. None for a rate below 1 / (patients + 1), which they cannot guarantee. Our choice; the
    paper is silent.
    """
    ordered = conformal.highest_by_patient(maxima, patients)
    k = conformal.rank(1 - rate, len(ordered))
    if k is None:
        return None
    promised = conformal.promised_rate(rate, len(ordered)) if exchangeable else None
    return FilmThreshold(
        value=float(ordered[k - 1]),
        rate=rate,
        patients=len(ordered),
        expected=promised.expected if promised else None,
        low=promised.low if promised else None,
        high=promised.high if promised else None,
    )


def least_films(rate: float) -> int:
    """The smallest number n of patients that can guarantee a false-alarm rate: 1 / (n + 1) <= rate."""
    return max(1, math.ceil(1 / rate - 1 - 1e-9))


def p_values(
    scores: NDArray[np.float64], normals: NDArray[np.float64], patients: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """The conformal p-value of each film's score (N,) among the scores (n,) of normal films, float64 (N,).

    It is (1 + the number of normal patients whose highest film scores at least as high) / (1 + patients), as films of
    one ``patients`` (n,) are not exchangeable with those of another; without them each film is its own patient. NaN
    where the score is NaN; 1 without normal films.
    """
    ordered = conformal.highest_by_patient(normals, patients)
    as_high = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.where(np.isnan(scores), np.nan, (1 + as_high) / (len(ordered) + 1))


def p_values_among(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The conformal p-value of each score (n,) among the others, float64 (n,).

    It is the number of scores at least as high, its own included, divided by n.
    """
    ordered = np.sort(scores)
    return np.asarray((len(scores) - np.searchsorted(ordered, scores, side="left")) / len(scores), dtype=np.float64)


def patient_numbers(patients: list[str]) -> NDArray[np.int64]:
    """A number for each film's patient, int64 (N,), by order of appearance: films of a patient have the same."""
    order = {name: number for number, name in enumerate(dict.fromkeys(patients))}
    return np.array([order[name] for name in patients], dtype=np.int64)


def patient_folds(patients: list[str], *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each film, int64 (N,) in [0, folds): all films of a patient in one fold, folds of similar size.

    Patients are assigned in an order drawn by the seed, those with most films first, each to the smallest fold. With
    fewer patients than folds there are as many folds as patients.
    """
    names = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(names))
    counts = Counter(patients)
    ordered = sorted((names[k] for k in order), key=lambda name: -counts[name])
    sizes = [0] * max(1, min(folds, len(names)))
    fold_of: dict[str, int] = {}
    for name in ordered:
        smallest = sizes.index(min(sizes))
        fold_of[name] = smallest
        sizes[smallest] += counts[name]
    return np.array([fold_of[name] for name in patients], dtype=np.int64)


def stratified_folds(abnormal: NDArray[np.bool_], patients: list[str], *, folds: int, seed: int) -> NDArray[np.int64]:
    """`patient_folds` in which each fold has about the same share of the films that are ``abnormal`` (N,) bool.

    A patient with any such film is drawn among those patients.
    """
    with_any = {name for name, is_abnormal in zip(patients, abnormal.tolist(), strict=True) if is_abnormal}
    own = np.array([name in with_any for name in patients], dtype=np.bool_)
    fold_of = np.zeros(len(patients), dtype=np.int64)
    for number, group in enumerate((own, ~own)):
        names = [patients[k] for k in np.flatnonzero(group)]
        if names:
            within = patient_folds(names, folds=folds, seed=seed + number)
            fold_of[group] = within if number else folds - 1 - within  # the larger folds of both do not coincide
    return fold_of
