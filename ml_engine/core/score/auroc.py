"""The area under the ROC curve (AUROC), for the choices made on the tune part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auroc(scores: NDArray[np.floating], abnormal: NDArray[np.bool_]) -> float:
    """The probability that an abnormal film scores above a normal one, ties counting half; in [0, 1].

    ``scores`` (N,) finite, ``abnormal`` (N,) bool. Computed from mid-ranks in O(N log N). NaN where a class is
    empty.
    """
    positives = int(abnormal.sum())
    negatives = abnormal.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    rank_sum = float(mid_ranks(scores)[abnormal].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def mid_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The ranks of the values (N,), float64 (N,), 1 for the smallest; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse.reshape(-1)], dtype=np.float64)
