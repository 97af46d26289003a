"""The ratings of a reader study as rows of strings, in the formats that the usual R packages read.

`mrmc_long_table` is a row for each rating: MRMCaov takes it as `mrmc(empirical_auc(truth, rating), modality, reader,
case, data)`, and RJafroc reads it, by the order of its columns, with `DfReadDataFile(file, format = "MRMC")` where
cases are integers and every film has a rating of every reader in every modality. `imrmc_table` is the data frame of
iMRMC's `doIMRMC` (dfMRMC_example in its manual), where the truth of each case is a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import BoolArray, FloatArray, take_sample

Row = tuple[str, ...]

LONG_COLUMNS: Row = ("reader", "modality", "case", "truth", "rating")
IMRMC_COLUMNS: Row = ("readerID", "caseID", "modalityID", "score")
TRUTH = "truth"  # iMRMC's readerID and modalityID of the rows that hold the truth


def mrmc_long_table(
    labels: ArrayLike,
    ratings: ArrayLike,
    *,
    readers: Sequence[str],
    modalities: Sequence[str],
    cases: Sequence[str],
) -> list[Row]:
    """The columns' names and a row for each rating, by case, reader and modality.

    labels (N,) of 0 and 1; ratings (N, R, M), NaN where missing: such a rating has no row. The names are of the R
    readers, M modalities and N cases. Raises ValueError where shapes do not match, for other labels, and for names that
    are empty, repeated, or that iMRMC keeps for its rows of truth ("truth", "-1").
    """
    abnormal, values = _checked(labels, ratings, readers=readers, modalities=modalities, cases=cases)
    rows = ((readers[j], modalities[m], cases[i], _truth(abnormal[i]), rating) for i, j, m, rating in _rated(values))
    return [LONG_COLUMNS, *rows]


def imrmc_table(
    labels: ArrayLike,
    ratings: ArrayLike,
    *,
    readers: Sequence[str],
    modalities: Sequence[str],
    cases: Sequence[str],
) -> list[Row]:
    """The columns' names, a row with the truth of each case that has a rating, then a row for each rating; otherwise as
    `mrmc_long_table`."""
    abnormal, values = _checked(labels, ratings, readers=readers, modalities=modalities, cases=cases)
    rated: list[int] = np.flatnonzero(np.isfinite(values).any(axis=(1, 2))).tolist()
    truths = ((TRUTH, cases[i], TRUTH, _truth(abnormal[i])) for i in rated)
    rows = ((readers[j], cases[i], modalities[m], rating) for i, j, m, rating in _rated(values))
    return [IMRMC_COLUMNS, *truths, *rows]


def _checked(
    labels: ArrayLike, ratings: ArrayLike, *, readers: Sequence[str], modalities: Sequence[str], cases: Sequence[str]
) -> tuple[BoolArray, FloatArray]:
    values = np.asarray(ratings, dtype=np.float64)
    expected = (len(cases), len(readers), len(modalities))
    if values.shape != expected:
        raise ValueError(f"ratings have shape {values.shape}; the names (cases, readers, modalities) say {expected}")
    for kind, names in (("readers", readers), ("modalities", modalities), ("cases", cases)):
        if len(set(names)) < len(names) or not all(names):
            raise ValueError(f"the names of {kind} must differ and not be empty")
    if {TRUTH, "-1"} & {*readers, *modalities}:
        raise ValueError("no reader and no modality can be called 'truth' or '-1': iMRMC marks the truth so")
    return take_sample(labels, np.zeros(len(cases))).abnormal, values


def _rated(values: FloatArray) -> Iterator[tuple[int, int, int, str]]:
    """The indices of case, reader and modality of each rating, and the shortest text that reads as the same number."""
    for i, j, m in np.argwhere(np.isfinite(values)):
        rating = float(values[i, j, m])
        yield int(i), int(j), int(m), str(int(rating)) if rating.is_integer() else repr(rating)


def _truth(abnormal: bool) -> str:
    return "1" if abnormal else "0"
