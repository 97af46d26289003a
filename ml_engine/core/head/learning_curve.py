"""What how many reads bought: AUROC on tune of the one-class score and with heads fitted on fewer reads.

A tune film is scored by heads that no read of its patient entered: where reads are of tune, by folds of patients. Its
reference is the curators' label that the detector's fit saw, never a verdict of the reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.head import confirmed_head
from ml_engine.core.head.confirmed_head import BothScores, CombinedScores, Scale, TrainingFilms
from ml_engine.core.head.logistic import Logistic
from ml_engine.core.score.calibration import patient_folds, patient_numbers, stratified_folds
from ml_engine.core.score.delong import Placements, Z, mean_placements, placements

SIZES = (10, 20, 40, 80, 160, 320, 640)  # reads
LEAST_ABNORMAL = 2  # of a point, and of tune
LEAST_POINTS = 3  # of an extrapolation
FURTHER = 20  # reads
EXTRAPOLATED = (
    "Extrapolated by a straight line of the gain over the logarithm of the reads. The interval covers the draw of tune "
    "films and of reads, and not a departure from this line."
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationNormals:
    """The normal films that standardise scores: pooled ``features`` float64 (n, D), ``one_class`` float64 (n,), their
    patients. ``are_known`` if they are the known normals themselves, in their order: their logits are then those of
    heads fitted without their fold of patients."""

    features: Array
    one_class: Array
    patients: tuple[str, ...]
    are_known: bool

    def logits(
        self, films: TrainingFilms, fitted: tuple[Scale, Logistic], *, penalty: float, folds: int, seed: int
    ) -> Array:
        """The logits (n,) by a head ``fitted`` on ``films``, held out."""
        if not self.are_known:
            return confirmed_head.logits(fitted, self.features)
        fold_of = patient_folds(list(self.patients), folds=folds, seed=seed)
        if fold_of.max() == 0:
            return confirmed_head.logits(fitted, self.features)
        scores = np.zeros(len(self.features))
        for fold in np.unique(fold_of):
            train = np.ones(len(films.features), dtype=np.bool_)
            train[np.flatnonzero(films.known)[fold_of == fold]] = False
            without = confirmed_head.fit(films.take(train), penalty=penalty)
            scores[fold_of == fold] = confirmed_head.logits(without, self.features[fold_of == fold])
        return scores


@dataclass(frozen=True)
class TuneFilms:
    """The films that the curve is measured on: ``features`` float64 (N, D), ``one_class`` float64 (N,), ``abnormal``
    bool (N,) by the curators, and their patients."""

    features: Array
    one_class: Array
    abnormal: NDArray[np.bool_]
    patients: tuple[str, ...]


@dataclass(frozen=True)
class Area:
    """An AUROC, or a difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CurvePoint:
    """Heads fitted on ``reads`` films, ``abnormal`` of them abnormal (means over folds), in ``repeats`` draws.

    ``gain`` is that of the combined over the one-class score. ``spread`` is the standard deviation of the gain between
    draws of the reads, which the intervals contain.
    """

    reads: float
    abnormal: float
    repeats: int
    head: Area
    combined: Area
    gain: Area
    spread: float


@dataclass(frozen=True)
class LearningCurve:
    """``note`` says why there are no points, or how the gain of `FURTHER` reads was extrapolated, or why it was not.
    ``tune`` are the held-out scores of the tune films with all reads, and ``folds`` their folds."""

    films: int
    abnormal: int
    note: str
    one_class: Area | None = None
    points: tuple[CurvePoint, ...] = ()
    further_gain: Area | None = None
    tune: CombinedScores | None = None
    folds: NDArray[np.int64] | None = None


def learning_curve(
    films: TrainingFilms,
    read_patients: tuple[str, ...],
    tune: TuneFilms,
    normals: CalibrationNormals,
    *,
    penalty: float,
    folds: int,
    repeats: int,
    seed: int,
) -> LearningCurve:
    """The curve. ``read_patients`` are the patients of the films of ``films`` that are not known normals."""
    patients = patient_numbers(list(tune.patients))
    counts = [len(set(patients[of_class].tolist())) for of_class in (tune.abnormal, ~tune.abnormal)]
    if min(counts) < LEAST_ABNORMAL:
        note = f"Tune has abnormal films of {counts[0]} patients and normal films of {counts[1]}: too few for a curve."
        return LearningCurve(films=len(tune.patients), abnormal=int(tune.abnormal.sum()), note=note)
    fold_of = np.zeros(len(tune.patients), dtype=np.int64)
    if set(read_patients) & set(tune.patients):
        fold_of = stratified_folds(tune.abnormal, list(tune.patients), folds=folds, seed=seed)
    drawing = _Drawing(
        films=films,
        read_patients=read_patients,
        tune=tune,
        normals=normals,
        fold_of=fold_of,
        penalty=penalty,
        folds=folds,
        seed=seed,
    )
    points, gains = [], []
    last = None
    for size in drawing.sizes():
        is_last = size is None
        scored = [drawing.scores(size, repeat) for repeat in range(1 if is_last else repeats)]
        point, gain = _point(scored, tune, patients, drawing.counts(size))
        points.append(point)
        gains.append(gain)
        last = scored[0]
    one_class = placements(tune.one_class, tune.abnormal, patients)
    further, note = _extrapolate(points, gains, total=len(read_patients))
    return LearningCurve(
        films=len(tune.patients),
        abnormal=int(tune.abnormal.sum()),
        one_class=Area(one_class.area, *one_class.interval()),
        points=tuple(points),
        further_gain=further,
        note=note,
        tune=last,
        folds=fold_of,
    )


@dataclass(frozen=True)
class _Drawing:
    """Draws reads and scores the tune films by the heads fitted on them."""

    films: TrainingFilms
    read_patients: tuple[str, ...]
    tune: TuneFilms
    normals: CalibrationNormals
    fold_of: NDArray[np.int64]
    penalty: float
    folds: int
    seed: int

    def _reads(self, fold: int, size: int | None, repeat: int) -> NDArray[np.int64]:
        """Rows of the reads of patients outside the fold: all, or ``size`` with the share of abnormal ones of all."""
        held_out = {name for name, of in zip(self.tune.patients, self.fold_of.tolist(), strict=True) if of == fold}
        rows = np.flatnonzero(~self.films.known)
        order = np.random.default_rng([self.seed, 19, repeat]).permutation(len(rows))
        free = [int(rows[k]) for k in order if self.read_patients[k] not in held_out]
        if size is None:
            return np.array(sorted(free), dtype=np.int64)
        wanted = self._wanted(size)
        by_class = [[k for k in free if self.films.abnormal[k] == is_abnormal] for is_abnormal in (True, False)]
        taken = [k for of_class, count in zip(by_class, wanted, strict=True) for k in of_class[:count]]
        return np.array(sorted(taken), dtype=np.int64)

    def _wanted(self, size: int) -> tuple[int, int]:
        reads = ~self.films.known
        abnormal = round(size * float(self.films.abnormal[reads].mean()))
        return abnormal, size - abnormal

    def sizes(self) -> list[int | None]:
        """The sizes that every fold can draw, and None for all reads."""
        abnormal = [int(self.films.abnormal[self._reads(fold, None, 0)].sum()) for fold in self._folds]
        everything = [len(self._reads(fold, None, 0)) for fold in self._folds]
        smallest = min(abnormal)
        reachable: list[int | None] = []
        for size in SIZES:
            wanted, others = self._wanted(size)
            enough = all(wanted <= a and others <= n - a for a, n in zip(abnormal, everything, strict=True))
            if enough and wanted >= LEAST_ABNORMAL and size < min(everything):
                reachable.append(size)
        return [*reachable, None] if smallest >= 1 else []

    @property
    def _folds(self) -> list[int]:
        return sorted(set(self.fold_of.tolist()))

    def counts(self, size: int | None) -> tuple[float, float]:
        """Reads and abnormal ones, as means over the folds."""
        drawn = [self._reads(fold, size, 0) for fold in self._folds]
        return (
            float(np.mean([len(rows) for rows in drawn])),
            float(np.mean([self.films.abnormal[rows].sum() for rows in drawn])),
        )

    def scores(self, size: int | None, repeat: int) -> CombinedScores:
        """The held-out scores of all tune films."""
        parts = np.zeros((3, len(self.tune.patients)))
        for fold in self._folds:
            train = self.films.known.copy()
            train[self._reads(fold, size, repeat)] = True
            films = self.films.take(train)
            fitted = confirmed_head.fit(films, penalty=self.penalty)
            of_normals = self.normals.logits(films, fitted, penalty=self.penalty, folds=self.folds, seed=self.seed)
            at = self.fold_of == fold
            logits = confirmed_head.logits(fitted, self.tune.features[at])
            scored = confirmed_head.combine(
                BothScores(self.tune.one_class[at], logits), BothScores(self.normals.one_class, of_normals)
            )
            parts[:, at] = (scored.one_class_z, scored.head_z, scored.combined)
        return CombinedScores(parts[0], parts[1], parts[2])


def _point(
    scored: list[CombinedScores], tune: TuneFilms, patients: NDArray[np.int64], counts: tuple[float, float]
) -> tuple[CurvePoint, Placements]:
    """The point, and the placements of its gain."""
    head = mean_placements([placements(each.head_z, tune.abnormal, patients) for each in scored])
    of_draws = [placements(each.combined, tune.abnormal, patients) for each in scored]
    combined = mean_placements(of_draws)
    one_class = placements(tune.one_class, tune.abnormal, patients)
    gain = combined.combined([one_class], [1.0, -1.0])
    spread = float(np.std([each.area for each in of_draws], ddof=1)) if len(scored) > 1 else 0.0
    half = Z * math.sqrt(gain.variance() + spread**2 / len(scored))
    return CurvePoint(
        reads=counts[0],
        abnormal=counts[1],
        repeats=len(scored),
        head=Area(head.area, *head.interval()),
        combined=Area(combined.area, *combined.interval()),
        gain=Area(gain.area, gain.area - half, gain.area + half),
        spread=spread,
    ), gain


def _extrapolate(points: list[CurvePoint], gains: list[Placements], *, total: int) -> tuple[Area | None, str]:
    """The expected gain of `FURTHER` reads beyond ``total``, and its note."""
    if len(points) < LEAST_POINTS:
        return None, (
            f"The curve has {len(points)} points, and the gain of {FURTHER} more reads is extrapolated from at least "
            f"{LEAST_POINTS}: read more films."
        )
    x = np.log([point.reads for point in points])
    slope_of = (x - x.mean()) / ((x - x.mean()) ** 2).sum()  # the slope is the product with the gains
    factor = math.log((total + FURTHER) / total)
    slope = gains[0].combined(gains[1:], slope_of.tolist())
    draws = sum(c**2 * point.spread**2 / point.repeats for c, point in zip(slope_of.tolist(), points, strict=True))
    half = Z * math.sqrt(slope.variance() + draws)
    value = slope.area
    return Area(factor * value, factor * (value - half), factor * (value + half)), EXTRAPOLATED
