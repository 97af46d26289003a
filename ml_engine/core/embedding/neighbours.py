"""The nearest films of every film: exact, by the cosine of their vectors less the mean vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK_VALUES = 2**25  # similarities in memory at once, 128 MiB


@dataclass(frozen=True)
class NearestFilms:
    """Of each film, its nearest other films, most alike first: ``films`` int32 (N, K) and ``similarities`` float32
    (N, K), cosines from -1 to 1."""

    films: NDArray[np.int32]
    similarities: NDArray[np.float32]


def centred_directions(features: NDArray[np.floating]) -> Tensor:
    """Vectors of length 1, float32 (N, D): the features (N, D) less their mean. All films of a set share most of their
    features; less the mean, the cosine tells what is particular to each. A film equal to the mean has the vector 0."""
    mean = features.mean(axis=0, dtype=np.float64)
    centred = torch.from_numpy(np.asarray(features - mean, dtype=np.float32))
    length = centred.norm(dim=1, keepdim=True)
    return torch.where(length > 0, centred / length.clamp_min(torch.finfo(torch.float32).tiny), 0.0)


def nearest_films(
    directions: Tensor,
    count: int,
    *,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NearestFilms:
    """The ``count`` nearest other films of each, or all others where there are fewer, from `centred_directions`. Of
    films that are equally near, the one with the lowest index comes first."""
    films = len(directions)
    kept = min(count, films - 1)
    nearest = np.zeros((films, kept), dtype=np.int32)
    cosines = np.zeros((films, kept), dtype=np.float32)
    if kept < 1:
        return NearestFilms(nearest, cosines)
    everything = directions.to(device or torch.device("cpu"))
    at_once = max(1, CHUNK_VALUES // films)
    for first in range(0, films, at_once):
        stop = min(first + at_once, films)
        similar = everything[first:stop] @ everything.T
        similar[torch.arange(stop - first), torch.arange(first, stop)] = -torch.inf  # a film is no neighbour of itself
        values, places = similar.topk(kept, dim=1)
        names, numbers = places.cpu().numpy(), values.clamp(-1, 1).cpu().numpy()
        order = np.lexsort((names, -numbers), axis=1)
        nearest[first:stop] = np.take_along_axis(names, order, axis=1)
        cosines[first:stop] = np.take_along_axis(numbers, order, axis=1)
        progress(stop, films)
    return NearestFilms(nearest, cosines)
