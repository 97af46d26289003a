"""Which films to look at first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import IntArray, take_sample


@dataclass(frozen=True)
class WorstCases:
    """Rows in the caller's arrays: abnormal films from the lowest score up, normal ones from the highest
    down."""

    misses: IntArray
    false_alarms: IntArray


def worst_cases(labels: ArrayLike, scores: ArrayLike, *, limit: int | None = None) -> WorstCases:
    """The worst `limit` misses and false alarms (all, without) of labels (N,) and scores (N,); no threshold is
    chosen. Of a tie the earlier row comes first."""
    sample = take_sample(labels, scores)
    rising = np.argsort(sample.scores[:, 0], kind="stable")
    falling = np.argsort(-sample.scores[:, 0], kind="stable")
    return WorstCases(
        misses=sample.films[rising[sample.abnormal[rising]]][:limit],
        false_alarms=sample.films[falling[~sample.abnormal[falling]]][:limit],
    )
