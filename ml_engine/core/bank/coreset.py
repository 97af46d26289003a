"""Coreset subsampling by greedy k-centre selection (paper, section 3.2, Fig. 10, after its references [13, 17]).

The points are centred, scaled and rounded to integers that are small enough for every squared distance to be an
exact integer in float32. The picks therefore depend neither on the BLAS library nor on threads, block size or
device. The algorithm works in blocks: each point has an upper bound of its distance to the picks so far. Only the
points with the largest bounds are updated, and picks are made among them as long as the best exceeds every bound
outside the block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.arrays import Array, as_tensor
from ml_engine.core.backbone.feature_file import Features
from ml_engine.core.determinism import exact_products
from ml_engine.core.errors import EmptyBank

NORM_LIMIT = 2047.0  # 4 * 2047**2 < 2**24, up to which float32 represents every integer
CHUNK = 8192
EXACT_BYTES = 2**31  # largest grid in full dimension; larger ones are projected, whatever exact_limit is
DISTANCES = 4e6  # of points to picks in memory at once
DOUBLE_LIMIT = 2e10  # multiplications up to which the covering radius is computed in float64, above in float32


class Coreset(NamedTuple):
    """``indices`` int64 (count,), in the order picked; ``radius`` float32 (count,), the covering radius after each
    pick: the largest L2 distance of any input feature to its nearest pick."""

    indices: Tensor
    radius: NDArray[np.float32]


def k_center(
    features: Array,
    count: int,
    *,
    start: int = 0,
    seed: int = 0,
    dimensions: int = 128,
    exact_limit: float = 2e8,
    block: int = 2048,
) -> Coreset:
    """The first ``count`` picks of the greedy k-centre algorithm over features float32 (N, D), tensor or array.

    ``start`` is the index of the first pick. Ties go to the lowest index. Once every point of the integer grid
    coincides with a pick, the lowest indices not yet picked follow. Distances are computed in full dimension while
    N * count <= ``exact_limit`` and the grid fits into 2 GiB, otherwise after a sparse random projection to
    ``dimensions``, drawn by ``seed``. On the same side of this limit, the picks of a smaller count are a prefix.
    Raises EmptyBank without features, ValueError for a count or start out of range.
    """
    features = as_tensor(features, name="features")
    grid = selection_grid(features, count, seed=seed, dimensions=dimensions, exact_limit=exact_limit)
    indices = greedy(grid, count, start=start, block=block)
    return Coreset(indices, covering_radius(features, indices).astype(np.float32))


class Rows:
    """Some rows of features (N, D), or all of them, read in chunks, so that features on disk are never copied whole."""

    def __init__(self, features: Features, rows: Tensor | None) -> None:
        self.features, self.rows = features, rows

    def __len__(self) -> int:
        return len(self.features if self.rows is None else self.rows)

    def chunks(self, size: int = CHUNK) -> Iterator[Tensor]:
        """The rows in order, at most ``size`` at a time."""
        if self.rows is None:
            yield from self.features.split(size)
        else:
            yield from (self.features[part] for part in self.rows.split(size))

    def take(self, indices: Tensor) -> Tensor:
        """The features at ``indices``, which count within the rows."""
        return self.features[indices if self.rows is None else self.rows[indices.to(self.rows.device)]]


def selection_grid(
    features: Features,
    count: int,
    *,
    rows: Tensor | None = None,
    seed: int,
    dimensions: int,
    exact_limit: float,
) -> Tensor:
    """The integer points for `greedy`, int16 (N, D), or (N, dimensions) if projected; N counts ``rows``, or all rows.

    Arguments as in `k_center`. Raises EmptyBank without rows.
    """
    chosen = Rows(features, rows)
    if len(chosen) == 0:
        raise EmptyBank("There is no patch to select a memory bank from.")
    is_large = len(chosen) * count > exact_limit or 2 * len(chosen) * features.shape[1] > EXACT_BYTES
    if is_large and features.shape[1] > dimensions:
        chosen = Rows(project(chosen, dimensions=dimensions, seed=seed), None)
    return integer_grid(chosen)


def project(features: Rows, *, dimensions: int, seed: int) -> Tensor:
    """Features (N, D) projected to float32 (N, dimensions) by a sparse random matrix drawn by ``seed``.

    It preserves squared L2 distances in expectation. Its entries are ±sqrt(sqrt(D) / dimensions) with probability
    1 / sqrt(D), otherwise 0 (Li, Hastie & Church 2006). Inferred from the PatchCore code; the paper is silent.
    """
    wide = features.features.shape[1]
    generator = torch.Generator().manual_seed(seed)
    density = 1 / math.sqrt(wide)
    draw = torch.rand(wide, dimensions, generator=generator)
    signs = (draw < density / 2).float() - (draw >= 1 - density / 2).float()
    matrix = (signs * math.sqrt(1 / (density * dimensions))).to(features.features.device)
    projected = matrix.new_empty(len(features), dimensions)
    for chunk, target in zip(features.chunks(), projected.split(CHUNK), strict=True):
        target.copy_(chunk @ matrix)
    return projected


def integer_grid(features: Rows) -> Tensor:
    """Features (N, D), centred, scaled by a common factor and rounded to int16 (N, D) with norms of at most 2047."""
    wide, device = features.features.shape[1], features.features.device
    total = torch.zeros(wide, dtype=torch.float64, device=device)
    for chunk in features.chunks():
        total += chunk.double().sum(0)
    centre = (total / len(features)).float()
    longest = max(float((chunk - centre).norm(dim=1).max()) for chunk in features.chunks())
    room = NORM_LIMIT - math.sqrt(wide) / 2  # rounding adds at most sqrt(D) / 2 to a norm
    scale = max(room, 1.0) / longest if longest > 0 else 0.0
    grid = torch.empty(len(features), wide, dtype=torch.int16, device=device)
    for chunk, target in zip(features.chunks(), grid.split(CHUNK), strict=True):
        target.copy_(((chunk - centre) * scale).round())
    return grid


@exact_products()
def greedy(grid: Tensor, count: int, *, start: int = 0, picked: int = 0, block: int = 2048) -> Tensor:
    """The picks of the greedy k-centre algorithm on integer points int16 (N, D), int64 (count,).

    The first ``picked`` points are taken as picks in their order; if there are none, ``start`` is the first pick.
    ``block`` changes the speed only. Raises ValueError for a count, start or number of picks out of range.
    """
    total = len(grid)
    if not 1 <= count <= total or not 0 <= start < total or not 0 <= picked <= count:
        raise ValueError(f"count {count}, start {start} and picked {picked} must lie within {total} points")
    return _Greedy(grid, count, range(picked) if picked else [start], block).run()


class _Greedy:
    """``bound[i]``: squared distance of point i to the nearest of the first ``seen[i]`` picks, at least that to all."""

    def __init__(self, grid: Tensor, count: int, first: Sequence[int], block: int) -> None:
        self.grid, self.count, self.block = grid, count, block
        self.norms = torch.cat([chunk.float().square().sum(1) for chunk in grid.split(CHUNK)])
        self.bound = torch.full((len(grid),), math.inf, device=grid.device)
        self.seen = torch.zeros(len(grid), dtype=torch.int64, device=grid.device)
        self.centres = torch.empty(count, grid.shape[1], device=grid.device)
        self.centre_norms = torch.empty(count, device=grid.device)
        self.picks: list[int] = []
        for index in first:
            self._add(index)
        self._refresh(torch.arange(len(grid), device=grid.device))

    def run(self) -> Tensor:
        while len(self.picks) < self.count:
            largest = torch.topk(self.bound, min(self.block + 1, len(self.bound)))
            outside = float(largest.values[-1]) if len(self.bound) > self.block else -1.0
            members = largest.indices[: self.block].sort().values
            self._refresh(members)
            best = float(self.bound[members].max())
            if best == 0 and outside <= 0:
                self._fill_up()
            elif best > outside:
                self._pick_within(members, outside)
            elif best == outside:
                self._pick_among_equals(best)
        return torch.tensor(self.picks, dtype=torch.int64)

    def _add(self, index: int) -> None:
        position = len(self.picks)
        self.centres[position] = self.grid[index].float()
        self.centre_norms[position] = self.norms[index]
        self.picks.append(index)

    def _refresh(self, members: Tensor) -> None:
        """Update the bounds of the members with the picks they have not seen."""
        now = len(self.picks)
        behind = members[self.seen[members] < now]
        for part in behind.split(CHUNK) if len(behind) else ():
            oldest = int(self.seen[part].min())
            points, norms, bound = self.grid[part].float(), self.norms[part], self.bound[part]
            for first in range(oldest, now, 1024):
                last = min(first + 1024, now)
                cross = points @ self.centres[first:last].T
                squared = norms[:, None] + self.centre_norms[first:last] - 2 * cross
                bound = torch.minimum(bound, squared.amin(1))
            self.bound[part] = bound
            self.seen[part] = now

    def _pick_within(self, members: Tensor, outside: float) -> None:
        """Pick the farthest member repeatedly, as long as it is farther than every bound outside."""
        points, norms, bound = self.grid[members].float(), self.norms[members], self.bound[members]
        while len(self.picks) < self.count:
            position = int(bound.argmax())  # the lowest index among equals: members are in ascending order
            if float(bound[position]) <= max(outside, 0.0):
                break
            self._add(int(members[position]))
            squared = norms + norms[position] - 2 * (points @ points[position])
            bound = torch.minimum(bound, squared)
        self.bound[members] = bound
        self.seen[members] = len(self.picks)

    def _pick_among_equals(self, best: float) -> None:
        """The farthest members tie with bounds outside: update these, then pick the lowest index."""
        tied = torch.nonzero(self.bound == best)[:, 0]
        self._refresh(tied)
        self._add(int(tied[self.bound[tied] == best].min()))

    def _fill_up(self) -> None:
        """Every point coincides with a pick: the lowest indices not yet picked follow."""
        free = torch.ones(len(self.grid), dtype=torch.bool)
        free[self.picks] = False
        rest = torch.nonzero(free)[: self.count - len(self.picks), 0]
        self.picks.extend(int(index) for index in rest)


@exact_products()
def covering_radius(features: Features, indices: Tensor, *, rows: Tensor | None = None) -> NDArray[np.float64]:
    """The covering radius after each pick, float64 (count,), never increasing.

    It is the largest L2 distance of a feature (N, D) to its nearest pick. ``indices`` count within ``rows``, if there
    are any. Distances that rounding cannot distinguish from 0 count as 0.
    """
    chosen = Rows(features, rows)
    taken = chosen.take(indices.to(features.device))
    kind = torch.float64 if len(chosen) * taken.numel() <= DOUBLE_LIMIT else torch.float32
    centre = taken.to(kind).mean(0)
    picks = taken.to(kind) - centre
    pick_norms = picks.square().sum(1)
    noise = 8 * torch.finfo(kind).eps * math.sqrt(features.shape[1])
    farthest = torch.zeros(len(picks), dtype=kind, device=features.device)
    for chunk in chosen.chunks(min(CHUNK, max(64, int(DISTANCES) // len(picks)))):
        points = chunk.to(kind) - centre
        norms = points.square().sum(1)[:, None] + pick_norms
        squared = norms - 2 * (points @ picks.T)
        squared[squared < noise * norms] = 0
        farthest = torch.maximum(farthest, squared.cummin(1).values.amax(0))
    return np.asarray(farthest.double().sqrt().cpu().numpy(), dtype=np.float64)
