"""Whether the scores of later films drift from those of the calibration normals, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import Auroc, auroc_interval
from analysis.statistics.rates import Rate, clustered_rate
from analysis.statistics.sample import normal_quantile
from analysis.statistics.subgroups import LEAST_FILMS, holm


@dataclass(frozen=True)
class BatchDrift:
    """The scores of one batch of films. above: the probability, as an AUROC, that a film of the batch scores higher
    than a calibration normal, ties half: 0.5 without drift. alarms: the share at or above the threshold. p_value:
    two-sided, of 0.5; adjusted_p_value is Holm's over the batches. All are None below 30 films on either side, with a
    `reason`."""

    name: str
    films: int
    patients: int
    median: float | None = None
    above: Auroc | None = None
    alarms: Rate | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    reason: str = ""


def score_drift(
    scores: ArrayLike,
    batches: Sequence[str],
    patients: ArrayLike,
    *,
    reference: ArrayLike,
    reference_patients: ArrayLike | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
) -> tuple[BatchDrift, ...]:
    """A row for each batch in the order in which batches first occur, from scores (N,), batches (N) and patients (N,)
    of films, and the scores (R,) of the calibration normals with their patients (R,), who are taken as other people
    than those of the films. Scores that are not finite are left out. Raises ValueError where shapes do not match, and
    for a confidence outside (0, 1)."""
    normal_quantile(confidence)
    values, people, base = (np.asarray(array) for array in (scores, patients, reference))
    if not values.shape == people.shape == (len(batches),):
        raise ValueError(f"scores {values.shape}, patients {people.shape} and {len(batches)} batches must match")
    base_people = np.arange(len(base)) if reference_patients is None else np.asarray(reference_patients)
    if base_people.shape != base.shape:
        raise ValueError(f"reference {base.shape} and reference_patients {base_people.shape} must match")
    is_known = np.isfinite(base.astype(np.float64))
    base, base_people = base[is_known].astype(np.float64), np.unique(base_people[is_known], return_inverse=True)[1]
    names, finite = np.asarray(batches), np.isfinite(values.astype(np.float64))
    rows = []
    for name in dict.fromkeys(batches):
        films = (names == name) & finite
        rows.append(
            _of_batch(
                name, values[films].astype(np.float64), people[films], base, base_people,
                threshold=threshold, confidence=confidence,
            )
        )  # fmt: skip
    adjusted = iter(holm([row.p_value for row in rows if row.p_value is not None]))
    return tuple(row if row.p_value is None else replace(row, adjusted_p_value=float(next(adjusted))) for row in rows)


def _of_batch(
    name: str, values: ArrayLike, people: ArrayLike, base: ArrayLike, base_people: ArrayLike, *,
    threshold: float | None, confidence: float,
) -> BatchDrift:  # fmt: skip
    values, base = np.asarray(values, dtype=np.float64), np.asarray(base, dtype=np.float64)
    codes = np.unique(np.asarray(people), return_inverse=True)[1]
    row = BatchDrift(name=name, films=len(values), patients=len(np.unique(codes)))
    for count, words in ((len(values), "this batch"), (len(base), "calibration normals")):
        if count < LEAST_FILMS:
            return replace(row, reason=f"{count} films of {words}: at least {LEAST_FILMS} are needed.")
    labels = np.r_[np.ones(len(values)), np.zeros(len(base))]
    everybody = np.r_[codes, np.asarray(base_people) + len(values)]
    above = auroc_interval(labels, np.r_[values, base], everybody, confidence=confidence)
    p_value = None
    if above.auroc is not None and above.variance is not None:
        away = abs(above.auroc - 0.5)
        p_value = 2 * NormalDist().cdf(-away / math.sqrt(above.variance)) if above.variance > 0 else float(away == 0)
    return replace(
        row,
        median=float(np.median(values)),
        above=above,
        alarms=None if threshold is None else clustered_rate(values >= threshold, codes, confidence=confidence),
        p_value=p_value,
        reason=above.reason,
    )
