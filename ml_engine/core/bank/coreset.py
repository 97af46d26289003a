"""Greedy k-centre selection, exact on an integer grid (paper's [13, 17]; METHOD, coreset).

The points are centred, scaled and rounded to integers so small that every sum of a squared distance is an
exact float32 integer: the picks then depend neither on the BLAS nor on threads, block sizes or device.
The greedy runs in blocks. Each point keeps an upper bound of its distance to the picks so far; only the
points with the largest bounds are brought up to date, and picks are made among them for as long as the
best of them exceeds every bound outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.errors import EmptyBank

NORM_LIMIT = 2047.0  # 4 * 2047**2 < 2**24, the first integer that float32 cannot follow
CHUNK = 8192
EXACT_BYTES = 2**31  # the largest grid in full dimension; beyond it the points are projected whatever the limit says
DOUBLE_LIMIT = 2e10  # multiplications up to which the covering radius is computed in float64


class Coreset(NamedTuple):
    """``indices`` (count,) int64 in the order picked; ``radius`` (count,) float32: after each pick, the
    largest L2 distance of any input feature to its nearest pick."""

    indices: Tensor
    radius: NDArray[np.float32]


def k_center(
    features: Tensor,
    count: int,
    *,
    start: int = 0,
    seed: int = 0,
    dimensions: int = 128,
    exact_limit: float = 2e8,
    block: int = 2048,
) -> Coreset:
    """The first ``count`` picks of the greedy k-centre over features (N, D) float32.

    ``start`` is the first pick. A tie goes to the lowest index; once every point coincides with a pick, on
    the grid, the lowest indices not yet picked follow. Distances are taken in full dimension while
    N * count <= ``exact_limit`` and the points fit into 2 GiB, else after a sparse random projection to
    ``dimensions``, drawn by ``seed``. On the same side of that limit, a smaller count gives a prefix.
    Raises EmptyBank for no features, ValueError for a count or start out of range.
    """
    grid = selection_grid(features, count, seed=seed, dimensions=dimensions, exact_limit=exact_limit)
    indices = greedy(grid, count, start=start, block=block)
    return Coreset(indices, covering_radius(features, indices).astype(np.float32))


class Rows:
    """Some rows of features (N, D), visited in chunks, so that features on disk are never copied whole."""

    def __init__(self, features: Tensor, rows: Tensor | None) -> None:
        self.features, self.rows = features, rows

    def __len__(self) -> int:
        return len(self.features if self.rows is None else self.rows)

    def chunks(self, size: int = CHUNK) -> Iterator[Tensor]:
        if self.rows is None:
            yield from self.features.split(size)
        else:
            yield from (self.features[part] for part in self.rows.split(size))

    def take(self, indices: Tensor) -> Tensor:
        return self.features[indices if self.rows is None else self.rows[indices.to(self.rows.device)]]


def selection_grid(
    features: Tensor,
    count: int,
    *,
    rows: Tensor | None = None,
    seed: int,
    dimensions: int,
    exact_limit: float,
) -> Tensor:
    """The integer points that the greedy works on, int16 (N, D) or (N, dimensions), of these rows or of all."""
    chosen = Rows(features, rows)
    if len(chosen) == 0:
        raise EmptyBank("There is no patch to choose a memory bank from.")
    is_large = len(chosen) * count > exact_limit or 2 * len(chosen) * features.shape[1] > EXACT_BYTES
    if is_large and features.shape[1] > dimensions:
        chosen = Rows(project(chosen, dimensions=dimensions, seed=seed), None)
    return integer_grid(chosen)


def project(features: Rows, *, dimensions: int, seed: int) -> Tensor:
    """Features (N, D) through a sparse random matrix that keeps L2 distances in expectation; (N, dimensions).

    Entries are 0, or ±sqrt(sqrt(D) / dimensions) with chance 1 / sqrt(D) (Li, Hastie, Church 2006).
    """
    wide = features.features.shape[1]
    generator = torch.Generator().manual_seed(seed)
    density = 1 / math.sqrt(wide)
    draw = torch.rand(wide, dimensions, generator=generator)
    signs = (draw < density / 2).float() - (draw >= 1 - density / 2).float()
    matrix = (signs * math.sqrt(1 / (density * dimensions))).to(features.features.device)
    return torch.cat([chunk @ matrix for chunk in features.chunks()])


def integer_grid(features: Rows) -> Tensor:
    """Features (N, D) centred, scaled by one factor and rounded to int16 with norms of at most 2047."""
    wide, device = features.features.shape[1], features.features.device
    total = torch.zeros(wide, dtype=torch.float64, device=device)
    for chunk in features.chunks():
        total += chunk.double().sum(0)
    centre = (total / len(features)).float()
    longest = max(float((chunk - centre).norm(dim=1).max()) for chunk in features.chunks())
    room = NORM_LIMIT - math.sqrt(wide) / 2  # rounding lengthens a vector by at most sqrt(D) / 2
    scale = max(room, 1.0) / longest if longest > 0 else 0.0
    grid = torch.empty(len(features), wide, dtype=torch.int16, device=device)
    for chunk, target in zip(features.chunks(), grid.split(CHUNK), strict=True):
        target.copy_(((chunk - centre) * scale).round())
    return grid


def greedy(grid: Tensor, count: int, *, start: int = 0, picked: int = 0, block: int = 2048) -> Tensor:
    """The greedy k-centre picks on integer points (N, D) int16, int64 (count,). See the module's words.

    The first ``picked`` points are picks already, in their order; ``start`` is the first pick where there are none.
    """
    total = len(grid)
    if not 1 <= count <= total or not 0 <= start < total or not 0 <= picked <= count:
        raise ValueError(f"count {count}, start {start} and picked {picked} must lie within {total} points")
    return _Greedy(grid, count, range(picked) if picked else [start], block).run()


class _Greedy:
    """``bound[i]``: squared distance of point i to the first ``seen[i]`` picks, so at least the true one."""

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
        """Bring the members' bounds up to date with all picks."""
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
        """Pick the farthest member, again and again, while it is farther than any bound outside."""
        points, norms, bound = self.grid[members].float(), self.norms[members], self.bound[members]
        while len(self.picks) < self.count:
            position = int(bound.argmax())  # the first of equals, and members are in ascending order
            if float(bound[position]) <= max(outside, 0.0):
                break
            self._add(int(members[position]))
            squared = norms + norms[position] - 2 * (points @ points[position])
            bound = torch.minimum(bound, squared)
        self.bound[members] = bound
        self.seen[members] = len(self.picks)

    def _pick_among_equals(self, best: float) -> None:
        """The farthest members tie with bounds outside: bring those up to date, take the lowest index."""
        tied = torch.nonzero(self.bound == best)[:, 0]
        self._refresh(tied)
        self._add(int(tied[self.bound[tied] == best].min()))

    def _fill_up(self) -> None:
        """Every point coincides with a pick: the lowest indices not yet picked follow."""
        free = torch.ones(len(self.grid), dtype=torch.bool)
        free[self.picks] = False
        rest = torch.nonzero(free)[: self.count - len(self.picks), 0]
        self.picks.extend(int(index) for index in rest)


def covering_radius(features: Tensor, indices: Tensor, *, rows: Tensor | None = None) -> NDArray[np.float64]:
    """After each pick, the largest L2 distance of a feature (N, D) to its nearest pick; float64 (count,).

    ``indices`` count within ``rows``, where these are given. Never rising. Distances below what rounding
    can tell from 0 count as 0.
    """
    chosen = Rows(features, rows)
    taken = chosen.take(indices.to(features.device))
    kind = torch.float64 if len(chosen) * taken.numel() <= DOUBLE_LIMIT else torch.float32
    centre = taken.to(kind).mean(0)
    picks = taken.to(kind) - centre
    pick_norms = picks.square().sum(1)
    noise = 8 * torch.finfo(kind).eps * math.sqrt(features.shape[1])
    farthest = torch.zeros(len(picks), dtype=kind, device=features.device)
    for chunk in chosen.chunks(min(CHUNK, max(64, int(2e7) // len(picks)))):
        points = chunk.to(kind) - centre
        norms = points.square().sum(1)[:, None] + pick_norms
        squared = norms - 2 * (points @ picks.T)
        squared[squared < noise * norms] = 0
        farthest = torch.maximum(farthest, squared.cummin(1).values.amax(0))
    return np.asarray(farthest.double().sqrt().cpu().numpy(), dtype=np.float64)
