"""Sensitivity and specificity of each reader, as points on the ROC plot of the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.rates import Rate, clustered_rate
from analysis.statistics.sample import take_sample


@dataclass(frozen=True)
class ReaderPoint:
    """One reader's rates over the films of this reader; a rate of no film has value None and a `reason`.

    The point on the ROC plot is (1 − specificity, sensitivity). left_out counts the films without a call.
    """

    sensitivity: Rate
    specificity: Rate
    left_out: int


def reader_points(
    labels: ArrayLike, calls: ArrayLike, patients: ArrayLike | None = None, *, confidence: float = 0.95
) -> tuple[ReaderPoint, ...]:
    """A point for each column of calls (N, R) of 0 and 1, NaN where the reader gave none; labels (N,) of 0 and 1.

    The limits are Clopper & Pearson's, with the effective number of films of `clustered_rate` where a patient of
    `patients` (N,) has several. Raises ValueError for other calls or labels, where shapes do not match, and for a
    confidence outside (0, 1).
    """
    columns = np.asarray(calls, dtype=np.float64)
    if columns.ndim != 2:
        raise ValueError(f"calls have shape {columns.shape}; expected (films, readers)")
    if not np.isin(columns[~np.isnan(columns)], (0, 1)).all():
        raise ValueError("calls must be 0 (normal) or 1 (abnormal), or NaN where missing")
    return tuple(_point(labels, column, patients, confidence=confidence) for column in columns.T)


def _point(labels: ArrayLike, calls: ArrayLike, patients: ArrayLike | None, *, confidence: float) -> ReaderPoint:
    sample = take_sample(labels, calls, patients)
    called, abnormal = sample.scores[:, 0] == 1, sample.abnormal
    return ReaderPoint(
        sensitivity=clustered_rate(called[abnormal], sample.patients[abnormal], method="exact", confidence=confidence),
        specificity=clustered_rate(
            ~called[~abnormal], sample.patients[~abnormal], method="exact", confidence=confidence
        ),
        left_out=sample.left_out,
    )
