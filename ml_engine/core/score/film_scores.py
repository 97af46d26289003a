"""The film's score: one number from its fused map. Several kinds are computed at every fusion weight.

The mean of all patches responds to large, diffuse changes, the mean of the highest 1 % to small, strong ones. The
kind ``mean+top`` is the sum of both, each standardised by normal films. The paper takes the maximum (inferred).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.score.fusion import WEIGHTS
from ml_engine.core.score.held_out import moments_of_others

Array = NDArray[np.float64]

COMBINED = "mean+top"
LEAST_NORMALS = 2  # films, to standardise the two parts of `COMBINED`


@dataclass(frozen=True)
class Member:
    """A film score computed from the fused map alone: ``kind`` is "mean", "top", "box" or "max"; ``share`` is the
    share of highest patches averaged by the kind ``top``."""

    kind: str
    share: float = 1.0

    @classmethod
    def of(cls, how: str, top_share: float) -> Member:
        """The member that a config names; only the kind ``top`` has a share."""
        return cls(how, top_share) if how == "top" else cls(how)


# The family whose scores are stored for every film, by name.
FAMILY = {
    "mean": Member("mean"),
    "top1": Member("top", 0.01),
    "top5": Member("top", 0.05),
    "top20": Member("top", 0.2),
    "max": Member("max"),
    "box": Member("box"),
}
PARTS = ("mean", "top1")  # the two parts of `COMBINED`


@dataclass(frozen=True)
class PartStatistics:
    """Mean and standard deviation of the scores `PARTS` of normal films at each of `fusion.WEIGHTS`, float64 (2, 101)
    each."""

    mean: Array
    std: Array

    def standardised(self, scores: Array) -> Array:
        """The scores of films (N, 2, 101), standardised."""
        return (scores - self.mean) / self.std


def member_scores(
    values: Array, members: Sequence[Member] = tuple(FAMILY.values()), *, weights: Array = WEIGHTS
) -> Array:
    """The scores of films at each fusion weight, float64 (N, M, W), from their two maps float64 (N, 2, h, w).

    NaN for a film without scores. A patch counts if both maps have a score there. The kind ``mean`` is the mean of all
    patches, ``top`` that of the highest ``share`` of them, at least one, ``max`` the highest patch, and ``box`` the
    highest mean over 3 x 3 patches less the median of the film's patches.
    """
    scores = np.full((len(values), len(members), len(weights)), np.nan)
    for row, film in enumerate(values):
        keep = ~np.isnan(film).any(axis=0)
        if keep.any():
            scores[row] = _scores_of(film, keep, members, weights)
    return scores


def _scores_of(film: Array, keep: NDArray[np.bool_], members: Sequence[Member], weights: Array) -> Array:
    """(M, W) of one film (2, h, w)."""
    fused = _fuse(film[:, keep], weights)  # (W, P)
    patches = fused.shape[1]
    counts = [_count(member, patches) for member in members]
    most = max(counts)
    highest = np.sort(np.partition(fused, patches - most, axis=1)[:, patches - most :], axis=1)
    rows = []
    for member, count in zip(members, counts, strict=True):
        if member.kind == "mean":
            rows.append(fused.mean(axis=1))
        elif member.kind == "box":
            boxes = _fuse(_box_means(film, keep)[:, keep], weights)
            rows.append(boxes.max(axis=1) - np.median(fused, axis=1))
        else:
            rows.append(highest[:, most - count :].mean(axis=1))
    return np.stack(rows)


def _fuse(maps: Array, weights: Array) -> Array:
    """(W, P) from the patches (2, P) of the global and the region map, as `fusion.fuse`."""
    return np.asarray(weights[:, None] * maps[1] + (1 - weights[:, None]) * maps[0])


def _count(member: Member, patches: int) -> int:
    return top_count(patches, member.share) if member.kind == "top" else 1


def top_count(patches: int, share: float) -> int:
    """The number of patches in the highest ``share`` of ``patches``: rounded up, at least one."""
    return max(1, math.ceil(share * patches - 1e-9))


def _box_means(film: Array, keep: NDArray[np.bool_]) -> Array:
    """The mean over the 3 x 3 neighbourhood of each patch, counting only patches that are kept; (2, h, w)."""
    present = np.pad(keep, 1).astype(np.float64)
    filled = np.pad(np.where(keep, film, 0.0), ((0, 0), (1, 1), (1, 1)))
    height, width = keep.shape
    windows = [(slice(r, r + height), slice(c, c + width)) for r in range(3) for c in range(3)]
    total = sum(filled[:, rows, columns] for rows, columns in windows)
    count = sum(present[rows, columns] for rows, columns in windows)
    return np.asarray(total / np.maximum(count, 1))


def image_scores(fused: Array, *, how: str, top_share: float = 1.0) -> Array:
    """One score per film, float64 (N,), from fused maps (N, h, w); ``how`` is a `Member.kind`."""
    both = np.stack([fused, fused], axis=1)
    return member_scores(both, [Member.of(how, top_share)], weights=WEIGHTS[:1])[:, 0, 0]


def part_scores(values: Array, *, weights: Array = WEIGHTS) -> Array:
    """The scores `PARTS` of films at each weight, float64 (N, 2, W), not standardised."""
    return member_scores(values, [FAMILY[name] for name in PARTS], weights=weights)


def part_statistics(normals: Array) -> PartStatistics | None:
    """The statistics of normal films from their `part_scores` (n, 2, W); None for fewer than two films.

    The standard deviation divides by n - 1, and is 1 where all films score equally.
    """
    known = normals[~np.isnan(normals).any(axis=(1, 2))]
    if len(known) < LEAST_NORMALS:
        return None
    std = known.std(axis=0, ddof=1)
    return PartStatistics(known.mean(axis=0), np.where(std > 0, std, 1.0))


def held_out_parts(normals: Array, patients: NDArray[np.int64] | None = None) -> Array:
    """The parts of normal films (n, 2, W), each standardised by the mean and deviation of those of other patients.

    ``patients`` int64 (n,) are group numbers; without them each film is its own patient. If a film, or another one of
    its patient, also contributed, its scores would be lower than those of a new patient. With fewer than two films of
    other patients, all contribute. A film without scores is NaN, and does not contribute.
    """
    held_out = np.full_like(normals, np.nan)
    known = ~np.isnan(normals).any(axis=(1, 2))
    films = normals[known]
    moments = moments_of_others(films, None if patients is None else patients[known])
    if moments is not None:
        held_out[known] = (films - moments[0]) / np.where(moments[1] > 0, moments[1], 1.0)
    elif (statistics := part_statistics(films)) is not None:
        held_out[known] = statistics.standardised(films)
    return held_out


def combined(parts: Array) -> Array:
    """The score ``mean+top`` (N, W): the sum of the two standardised parts (N, 2, W)."""
    return np.asarray(parts.sum(axis=1))


def scores_at(
    values: Array, *, how: str, top_share: float, parts: PartStatistics | None, weights: Array = WEIGHTS
) -> Array:
    """The scores of films of the kind ``how`` at each weight, float64 (N, W), from their maps (N, 2, h, w).

    ``parts`` are the statistics of `COMBINED`, at all of `fusion.WEIGHTS`; NaN for that kind without them.
    """
    if how != COMBINED:
        return member_scores(values, [Member.of(how, top_share)], weights=weights)[:, 0]
    if parts is None:
        return np.full((len(values), len(weights)), np.nan)
    at = np.round(weights * 100).astype(int)
    scores = part_scores(values, weights=weights)
    return combined(PartStatistics(parts.mean[:, at], parts.std[:, at]).standardised(scores))


def normal_scores_at(
    normals: Array,
    *,
    how: str,
    top_share: float,
    patients: NDArray[np.int64] | None = None,
    weights: Array = WEIGHTS,
) -> Array:
    """The scores of the normal films that calibrate, float64 (n, W), comparable with those of new films.

    The parts of `COMBINED` are standardised for each film by those of other patients.
    """
    if how != COMBINED:
        return member_scores(normals, [Member.of(how, top_share)], weights=weights)[:, 0]
    return combined(held_out_parts(part_scores(normals, weights=weights), patients))
