"""The precision–recall curve, reduced to as many points as a figure needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.sample import FloatArray, IntArray, take_sample


@dataclass(frozen=True)
class PrecisionRecall:
    """Points by falling threshold, all (P,): a film is called abnormal when its score is at least the threshold.

    Between two points the precision is that of the second (Davis & Goadrich 2006: linear interpolation is wrong here).
    films holds the index in the caller's arrays of a film with exactly that score, abnormal where possible. Without
    both classes the arrays are empty and `reason` explains why.
    """

    recall: FloatArray
    precision: FloatArray
    thresholds: FloatArray
    films: IntArray
    positives: int
    negatives: int
    left_out: int
    reason: str = ""


def precision_recall(labels: ArrayLike, scores: ArrayLike, *, max_points: int = 1000) -> PrecisionRecall:
    """The curve of labels (N,) of 0 and 1 and scores (N,). Thresholds that add no abnormal film are dropped; if more
    than `max_points` remain, half are spread evenly and half are dense near the highest scores."""
    sample = take_sample(labels, scores)
    none = np.empty(0)
    result = PrecisionRecall(
        recall=none, precision=none, thresholds=none, films=np.empty(0, dtype=np.int64),
        positives=sample.positives, negatives=sample.negatives, left_out=sample.left_out,
        reason=sample.why_undefined().replace("AUROC", "precision–recall curve"),
    )  # fmt: skip
    if result.reason:
        return result
    order = np.lexsort((~sample.abnormal, -sample.scores[:, 0]))  # among equal scores, abnormal films first
    ranked, abnormal = sample.scores[order, 0], sample.abnormal[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] < ranked[:-1]])  # of each distinct score
    ends = np.r_[starts[1:], len(ranked)] - 1
    hits = np.cumsum(abnormal)[ends]
    kept = np.flatnonzero(np.diff(hits, prepend=0))
    if len(kept) > max_points:
        evenly = np.linspace(0, len(kept) - 1, max_points // 2)
        closer = np.geomspace(1, len(kept), max_points // 2) - 1
        kept = kept[np.unique(np.r_[evenly, closer].round().astype(np.int64))]
    return replace(
        result,
        recall=hits[kept] / sample.positives,
        precision=hits[kept] / (ends[kept] + 1),
        thresholds=ranked[starts[kept]],
        films=sample.films[order[starts[kept]]],
    )
