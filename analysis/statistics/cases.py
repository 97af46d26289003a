"""The films that a detector scores worst: missed abnormal films and false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import IntArray, take_sample


@dataclass(frozen=True)
class WorstCases:
    """Indices into the caller's arrays: abnormal films by rising score, normal films by falling score."""

    misses: IntArray
    false_alarms: IntArray


def worst_cases(labels: ArrayLike, scores: ArrayLike, *, limit: int | None = None) -> WorstCases:
    """The worst `limit` (default: all) misses and false alarms of labels (N,) and scores (N,); no threshold is
    applied. Among equal scores the earlier film comes first."""
    sample = take_sample(labels, scores)
    rising = np.argsort(sample.scores[:, 0], kind="stable")
    falling = np.argsort(-sample.scores[:, 0], kind="stable")
    return WorstCases(
        misses=sample.films[rising[sample.abnormal[rising]]][:limit],
        false_alarms=sample.films[falling[~sample.abnormal[falling]]][:limit],
    )
