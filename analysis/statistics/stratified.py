"""AUROC within strata: only films of the same stratum are compared with each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import clustered_variance, placements
from analysis.statistics.sample import BoolArray, Sample, normal_quantile, take_sample


@dataclass(frozen=True)
class StratifiedAuroc:
    """The probability that an abnormal film scores above a normal film of its stratum, over all such pairs.

    strata counts those with at least two patients in each class, films the films in them; left_out counts all others,
    including those without a score. auroc and its limits are None, with a `reason`, where there is no such stratum.
    """

    auroc: float | None
    low: float | None
    high: float | None
    strata: int
    films: int
    left_out: int
    confidence: float
    reason: str = ""


def stratified_auroc(
    labels: ArrayLike,
    scores: ArrayLike,
    strata: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> StratifiedAuroc:
    """The AUROC within strata from labels (N,) of 0 and 1, scores (N,), strata (N,), and patients (N,) or None.

    The AUROC of a stratum is weighted by its number of pairs. The variance is the weighted sum of those of the strata
    (DeLong's, clustered by patient within each), with the weights taken as fixed; films of one patient in two strata
    are treated as independent. Raises ValueError where labels, scores, strata and patients do not match.
    """
    sample = take_sample(labels, scores, patients)
    z = normal_quantile(confidence)
    names = np.asarray(strata).astype(str)
    if names.shape != np.shape(labels):
        raise ValueError(f"strata {names.shape} must name one stratum for each of the {len(np.asarray(labels))} films")
    count = len(names)
    names = names[sample.films]
    sides = [side for side in (_side(sample, names == name) for name in np.unique(names)) if not side.why_no_interval()]
    films = sum(len(side.abnormal) for side in sides)
    if not sides:
        reason = "No stratum has normal and abnormal films of two patients each."
        return StratifiedAuroc(
            auroc=None, low=None, high=None, strata=0, films=0, left_out=count, confidence=confidence, reason=reason
        )
    pairs = np.array([side.positives * side.negatives for side in sides], dtype=np.float64)
    weights = pairs / pairs.sum()
    placed = [placements(side) for side in sides]
    areas = np.array([positive.mean() for positive, _ in placed])
    variances = np.array([clustered_variance(side, *both)[0] for side, both in zip(sides, placed, strict=True)])
    area = float(weights @ areas)
    half = z * math.sqrt(float(weights**2 @ variances))
    return StratifiedAuroc(
        auroc=area,
        low=max(0.0, area - half),
        high=min(1.0, area + half),
        strata=len(sides),
        films=films,
        left_out=count - films,
        confidence=confidence,
    )


def _side(sample: Sample, member: BoolArray) -> Sample:
    return Sample(sample.abnormal[member], sample.scores[member], sample.patients[member], sample.films[member], 0)
