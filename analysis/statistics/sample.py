"""The input of every statistic: checked labels, scores and patients; and resamples of the patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

BLOCK_ELEMENTS = 4_000_000  # in a block of resamples: 32 MB of int64


@dataclass(frozen=True)
class Sample:
    """Films with a usable score.

    abnormal (N,) bool; scores (N, K) float64, finite, K score columns of the same films; patients (N,) int64
    codes 0 … P−1; films (N,) int64, the index of each film in the caller's arrays; left_out counts the films whose
    score is not finite in some column.
    """

    abnormal: BoolArray
    scores: FloatArray
    patients: IntArray
    films: IntArray
    left_out: int

    @cached_property
    def positives(self) -> int:
        return int(np.count_nonzero(self.abnormal))

    @property
    def negatives(self) -> int:
        return len(self.abnormal) - self.positives

    @cached_property
    def positive_patients(self) -> int:
        return _count_distinct(self.patients[self.abnormal])

    @cached_property
    def negative_patients(self) -> int:
        return _count_distinct(self.patients[~self.abnormal])

    @cached_property
    def repeats_patients(self) -> bool:
        return _count_distinct(self.patients) < len(self.patients)

    def why_undefined(self) -> str:
        """A sentence where a class has no film, otherwise the empty string."""
        missing = [word for word, count in (("abnormal", self.positives), ("normal", self.negatives)) if count == 0]
        if not missing:
            return ""
        return f"No {' and no '.join(missing)} film has a score, so the AUROC is not defined."

    def why_no_interval(self) -> str:
        """A sentence where the variance between patients cannot be estimated, otherwise the empty string."""
        few = [
            word
            for word, count in (("abnormal", self.positive_patients), ("normal", self.negative_patients))
            if count < 2
        ]
        if not few:
            return ""
        return f"Films of only one {' and one '.join(few)} patient: an interval needs at least two of each."


def _count_distinct(codes: IntArray) -> int:
    """The number of distinct patients; counting is many times faster than sorting."""
    return int(np.count_nonzero(np.bincount(codes))) if len(codes) else 0


def take_sample(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None) -> Sample:
    """Check and clean. labels (N,) of 0 and 1; scores (N,) or (N, K); patients (N,) of any sortable values, or None
    where every film is its own patient. Raises ValueError where shapes do not match and for other labels.
    """
    truth = np.asarray(labels)
    columns = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or columns.ndim not in (1, 2) or len(columns) != len(truth):
        raise ValueError(f"labels {truth.shape} and scores {columns.shape} must have one row for each film")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("labels must be 0 (normal) or 1 (abnormal); leave films with other labels out")
    if columns.ndim == 1:
        columns = columns[:, None]
    codes = _patient_codes(patients, len(truth))
    usable = np.isfinite(columns).all(axis=1)
    return Sample(
        abnormal=truth[usable].astype(bool),
        scores=columns[usable],
        patients=codes[usable],
        films=np.flatnonzero(usable).astype(np.int64),
        left_out=int(np.count_nonzero(~usable)),
    )


def _patient_codes(patients: ArrayLike | None, films: int) -> IntArray:
    if patients is None:
        return np.arange(films, dtype=np.int64)
    names = np.asarray(patients)
    if names.shape != (films,):
        raise ValueError(f"patients {names.shape} must name one patient for each of the {films} films")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def normal_quantile(confidence: float) -> float:
    """The two-sided z of a confidence: 1.96 for 0.95. Raises ValueError outside (0, 1)."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def resampled_weights(sample: Sample, *, replicates: int, seed: int) -> Iterator[IntArray]:
    """Blocks (b, N) int64 of how often each film is drawn, `replicates` rows in all.

    Patients are drawn with replacement, each with all their films, within three strata: patients with only normal
    films, with only abnormal films, and with both. So every resample has both classes; with one film for each patient
    this is the stratified bootstrap of pROC.
    """
    codes = np.unique(sample.patients, return_inverse=True)[1]
    patients = int(codes.max()) + 1
    has_abnormal = np.bincount(codes, weights=sample.abnormal, minlength=patients) > 0
    has_normal = np.bincount(codes, weights=~sample.abnormal, minlength=patients) > 0
    kind = has_abnormal + 2 * has_normal
    strata = [np.flatnonzero(kind == k) for k in (1, 2, 3)]
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_ELEMENTS // len(codes))
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        counts = np.zeros((rows, patients), dtype=np.int64)
        for members in strata:
            if len(members):
                counts[:, members] = _draw_counts(generator, rows=rows, members=len(members))
        yield counts[:, codes]


def _draw_counts(generator: np.random.Generator, *, rows: int, members: int) -> IntArray:
    drawn = generator.integers(0, members, size=(rows, members))
    drawn += np.arange(rows)[:, None] * members
    return np.bincount(drawn.ravel(), minlength=rows * members).reshape(rows, members).astype(np.int64)
