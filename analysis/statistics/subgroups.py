"""AUROC by subgroup, and by attribute of the normal films, each compared with the rest, with p-values adjusted for
multiple comparisons after Holm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.auroc import Auroc, auroc_interval, clustered_variance, placements
from analysis.statistics.sample import BoolArray, FloatArray, Sample, normal_quantile, take_sample

LEAST_FILMS = 30


@dataclass(frozen=True)
class Subgroup:
    """The films of one group, and their AUROC minus that of all other films.

    films counts those with a score. auroc is None below 30 films; difference, its limits and p-values are None where
    either side has no AUROC or no variance; `reason` explains why. p_value is two-sided, of no difference;
    adjusted_p_value is Holm's over all groups with a p-value; two groups are a single test.
    """

    name: str
    films: int
    auroc: Auroc | None
    rest: Auroc | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    adjusted_p_value: float | None
    reason: str = ""


def holm(p_values: ArrayLike) -> FloatArray:
    """(K,) adjusted p-values of K tests, in the order of the input. Rejecting those at most the level keeps the
    probability of any false rejection at most the level, whatever the dependence between the tests.

    Holm 1979, Scand J Stat 6:65: the k-th smallest times K − k + 1, never below an earlier one, at most 1. Raises
    ValueError unless all lie in [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values are {values.tolist()}; they must be one row of numbers in 0 to 1")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def subgroup_aurocs(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[Subgroup, ...]:
    """A row for each distinct group, in order of their names, from labels (N,) of 0 and 1, scores (N,), groups (N,).

    The intervals of the two AUROCs are those of `auroc_interval`, with patients (N,) or None. That of the difference is
    symmetric; its variance is the sum of the two minus twice the covariance due to patients with films on both sides
    (Obuchowski 1997; zero without such patients). Raises ValueError where labels, scores, groups and patients do not
    match and for a confidence outside (0, 1).
    """
    sample = take_sample(labels, scores, patients)
    normal_quantile(confidence)
    names = np.asarray(groups).astype(str)
    if names.shape != np.shape(labels):
        raise ValueError(f"groups {names.shape} must name one group for each of the {len(np.asarray(labels))} films")
    every = np.unique(names)
    names = names[sample.films]
    rows = [_subgroup(sample, str(name), names == name, confidence=confidence) for name in every]
    if len(rows) == 2:  # each is the rest of the other: one test, stated twice
        return tuple(replace(row, adjusted_p_value=row.p_value) for row in rows)
    return _adjusted(rows)


def normal_attribute_aurocs(
    labels: ArrayLike,
    scores: ArrayLike,
    attributes: Sequence[Sequence[str]],
    patients: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> tuple[Subgroup, ...]:
    """A row for each attribute of normal films, most frequent first, from labels (N,) of 0 and 1, scores (N,) and the
    attributes by film; those of abnormal films are ignored, and a normal film with several counts for each.

    `auroc` is that of all abnormal films against the normal ones with the attribute, `films` in number; `rest` is that
    of the same abnormal films against the normal ones without it. Below 30 normal films on either side there is none.
    The variance of their difference is that of paired placements of the abnormal films (DeLong 1988) and of two groups
    of normal ones, summed by patient (Obuchowski 1997). Raises ValueError as `subgroup_aurocs`.
    """
    sample = take_sample(labels, scores, patients)
    normal_quantile(confidence)
    if len(attributes) != len(np.asarray(labels)):
        raise ValueError(f"{len(attributes)} films have attributes and {len(np.asarray(labels))} labels; give both")
    of_film = [set(attributes[film]) for film in sample.films.tolist()]
    occurring: set[str] = set().union(*(attributes[i] for i, label in enumerate(np.asarray(labels)) if label == 0))
    rows = []
    for name in sorted(occurring):
        member = np.array([name in names for names in of_film], dtype=bool) & ~sample.abnormal
        rows.append(_of_normals(sample, name, member, confidence=confidence))
    rows.sort(key=lambda row: (-row.films, row.name))
    return _adjusted(rows)


def _adjusted(rows: Sequence[Subgroup]) -> tuple[Subgroup, ...]:
    """The rows with Holm's p-values."""
    adjusted = iter(holm([row.p_value for row in rows if row.p_value is not None]))
    return tuple(row if row.p_value is None else replace(row, adjusted_p_value=float(next(adjusted))) for row in rows)


def _of_normals(sample: Sample, name: str, member: BoolArray, *, confidence: float) -> Subgroup:
    """The row of an attribute; `member` (n,) marks the normal films that have it."""
    films, others = int(np.count_nonzero(member)), int(np.count_nonzero(~member & ~sample.abnormal))
    row = Subgroup(
        name=name, films=films, auroc=None, rest=None,
        difference=None, low=None, high=None, p_value=None, adjusted_p_value=None,
    )  # fmt: skip
    if films < LEAST_FILMS:
        return replace(row, reason=f"{films} normal films with a score: below {LEAST_FILMS} no AUROC is given.")
    auroc = _auroc(sample, sample.abnormal | member, confidence=confidence)
    row = replace(row, auroc=auroc, reason=auroc.reason)
    if others < LEAST_FILMS:
        reason = f"{others} other normal films with a score: below {LEAST_FILMS} there is nothing to compare with."
        return replace(row, reason=auroc.reason or reason)
    rest = _auroc(sample, ~member, confidence=confidence)
    row = replace(row, rest=rest, reason=auroc.reason or rest.reason)
    if auroc.auroc is None or rest.auroc is None:
        return row
    row = replace(row, difference=auroc.auroc - rest.auroc)
    return row if row.reason else _with_test(row, _paired_variance(sample, member), confidence=confidence)


def _paired_variance(sample: Sample, member: BoolArray) -> float:
    """Variance of the AUROC against the normal films of `member` minus that against the other normal films."""
    people = int(sample.patients.max()) + 1
    with_it, without = _side(sample, sample.abnormal | member), _side(sample, ~member)
    (positive1, negative1), (positive2, negative2) = _influences(with_it, people), _influences(without, people)
    positive = positive1 - positive2  # the same abnormal films on both sides
    own = (
        _unbiased(sample.positive_patients) * float(positive @ positive)
        + _unbiased(with_it.negative_patients) * float(negative1 @ negative1)
        + _unbiased(without.negative_patients) * float(negative2 @ negative2)
    )
    shared = _unbiased(len(np.unique(sample.patients))) * float(positive @ negative1 - positive @ negative2)
    shared -= _unbiased(sample.negative_patients) * float(negative1 @ negative2)
    variance = own + 2 * shared
    return variance if variance > 1e-9 * own else 0.0


def _subgroup(sample: Sample, name: str, member: BoolArray, *, confidence: float) -> Subgroup:
    films = int(np.count_nonzero(member))
    row = Subgroup(
        name=name, films=films, auroc=None, rest=None,
        difference=None, low=None, high=None, p_value=None, adjusted_p_value=None,
    )  # fmt: skip
    if films < LEAST_FILMS:
        counted = f"{films} film{'' if films == 1 else 's'}"
        return replace(row, reason=f"{counted} with a score: below {LEAST_FILMS} no AUROC is given.")
    auroc = _auroc(sample, member, confidence=confidence)
    row = replace(row, auroc=auroc, reason=auroc.reason)
    others = len(member) - films
    if others < LEAST_FILMS:
        reason = f"{others} other films with a score: below {LEAST_FILMS} there is nothing to compare with."
        return replace(row, reason=auroc.reason or reason)
    rest = _auroc(sample, ~member, confidence=confidence)
    row = replace(row, rest=rest, reason=auroc.reason or rest.reason)
    if auroc.auroc is None or rest.auroc is None:
        return row
    row = replace(row, difference=auroc.auroc - rest.auroc)
    if row.reason:
        return row
    if not auroc.variance or not rest.variance:
        return replace(
            row, reason="The classes separate completely on one side, which leaves no variance to test with."
        )
    return _with_test(row, _variance(sample, member), confidence=confidence)


def _with_test(row: Subgroup, variance: float, *, confidence: float) -> Subgroup:
    assert row.difference is not None
    if variance <= 0.0:
        return replace(row, reason="The same patients make both sides, which leaves no variance to test with.")
    error = math.sqrt(variance)
    half = normal_quantile(confidence) * error
    return replace(
        row,
        low=max(-1.0, row.difference - half),
        high=min(1.0, row.difference + half),
        p_value=2 * NormalDist().cdf(-abs(row.difference) / error),
    )


def _auroc(sample: Sample, member: BoolArray, *, confidence: float) -> Auroc:
    patients = sample.patients[member]
    return auroc_interval(sample.abnormal[member], sample.scores[member, 0], patients, confidence=confidence)


def _variance(sample: Sample, member: BoolArray) -> float:
    """Variance of the group's AUROC minus that of the rest; 0 where it vanishes, up to rounding."""
    first, second = _side(sample, member), _side(sample, ~member)
    own = sum(float(clustered_variance(side, *placements(side))[0]) for side in (first, second))
    people = int(sample.patients.max()) + 1
    (positive1, negative1), (positive2, negative2) = _influences(first, people), _influences(second, people)
    covariance = (
        _unbiased(sample.positive_patients) * float(positive1 @ positive2)
        + _unbiased(sample.negative_patients) * float(negative1 @ negative2)
        + _unbiased(len(np.unique(sample.patients))) * float(positive1 @ negative2 + negative1 @ positive2)
    )
    variance = own - 2 * covariance
    return variance if variance > 1e-9 * own else 0.0


def _unbiased(patients: int) -> float:
    return patients / (patients - 1)


def _side(sample: Sample, member: BoolArray) -> Sample:
    """The films of one side, with unchanged patient codes."""
    return Sample(sample.abnormal[member], sample.scores[member], sample.patients[member], sample.films[member], 0)


def _influences(side: Sample, people: int) -> tuple[FloatArray, FloatArray]:
    """By patient, the sums of the centred placements of abnormal and of normal films, divided by their number: both
    (people,)."""
    positive, negative = (shares[:, 0] - shares[:, 0].mean() for shares in placements(side))
    codes = side.patients
    return (
        np.bincount(codes[side.abnormal], weights=positive / len(positive), minlength=people).astype(np.float64),
        np.bincount(codes[~side.abnormal], weights=negative / len(negative), minlength=people).astype(np.float64),
    )
