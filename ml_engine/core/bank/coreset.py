"""Coreset subsampling by greedy k-centre selection (paper, section 3.2, Fig. 10, after its references [13, 17]).

The points are centred, scaled and rounded to integers that are small enough for every squared distance to be an
exact integer in float32. The picks therefore depend neither on the BLAS library nor on threads, block size or
device. The algorithm works in blocks: each point has an upper bound of its distance to the picks so far. Only the
points with the largest bounds are updated, roughly and then exactly where it matters, and picks are made among them as
long as the best exceeds every bound outside the block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.arrays import Array, as_tensor
from ml_engine.core.backbone.feature_file import Features, rows_at
from ml_engine.core.bank.covering_radius import Rows, counts_of, covering_radius
from ml_engine.core.bank.rough_distances import (
    GrowingInt8Product,
    GrowingProduct,
    multiplies_bfloat16,
    multiplies_int8,
)
from ml_engine.core.determinism import exact_products
from ml_engine.core.errors import EmptyBank, UnusableFeatures

NORM_LIMIT = 2047.0  # 4 * 2047**2 < 2**24, up to which float32 represents every integer
BLOCK_SIZES = (1024, 8192)  # points updated together: a quarter of all, within these limits,
BLOCK_VALUES = 2**22  # and this many values at most, over which each pick passes
PICKS = 1024  # picks compared at once
CLIP = 8.0  # times the root mean square of the numbers of all points
CHUNK_VALUES = 2**19  # values of points at once: 2 MiB in float32, which stays in a cache
EXACT_BYTES = 2**31  # largest grid in full dimension; larger ones are projected, whatever exact_limit is


class Coreset(NamedTuple):
    """``indices`` int64 (count,), in the order picked; ``radius`` float32 (count,), the covering radius, which is the
    largest L2 distance of any input feature to its nearest pick: after 1, 32, 1024 and so on, half and all of them, NaN
    after the others."""

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
    block: int | None = None,
) -> Coreset:
    """The first ``count`` picks of the greedy k-centre algorithm over features float32 (N, D), tensor or array.

    ``start`` is the index of the first pick. Ties go to the lowest index. Once every point of the integer grid
    coincides with a pick, the lowest indices not yet picked follow. Distances are computed in full dimension while
    N * count <= ``exact_limit`` and the grid fits into 2 GiB, otherwise after a sparse random projection to
    ``dimensions``, drawn by ``seed``. On the same side of this limit, the picks of a smaller count are a prefix.
    Integers whose norms, perhaps once shifted by an integer, are at most 2047 are taken as they are.
    Raises EmptyBank without features, UnusableFeatures where a value is not finite or too large, ValueError for
    features of another shape and for a count, start or block out of range.
    """
    features = as_tensor(features, name="features")
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"features are {tuple(features.shape)}: expected (N, D), D at least 1")
    grid = selection_grid(features, count, seed=seed, dimensions=dimensions, exact_limit=exact_limit)
    chosen = selection(grid, count, start=start, block=block)
    radius = covering_radius(features, chosen.indices, nearest=chosen.nearest)
    return Coreset(chosen.indices, radius.astype(np.float32))


def selection_grid(
    features: Features,
    count: int,
    *,
    rows: Tensor | None = None,
    seed: int,
    dimensions: int,
    exact_limit: float,
    shared: Tensor | None = None,
) -> Tensor:
    """The integer points for `greedy`, int16 (N, D), or (N, dimensions) if projected; N counts ``rows``, or all rows.

    Those that are not projected are taken from ``shared``, the `integer_grid` of all features, if it is given. Other
    arguments as in `k_center`. Raises EmptyBank without rows, and UnusableFeatures.
    """
    chosen = Rows(features, rows)
    if len(chosen) == 0:
        raise EmptyBank("There is no patch to select a memory bank from.")
    is_large = len(chosen) * count > exact_limit or 2 * len(chosen) * features.shape[1] > EXACT_BYTES
    if is_large and features.shape[1] > dimensions:
        chosen = Rows(project(chosen, dimensions=dimensions, seed=seed), None)
    elif shared is not None:
        return shared if rows is None else rows_at(shared, rows)
    return integer_grid(chosen)


@exact_products()
def project(features: Rows, *, dimensions: int, seed: int) -> Tensor:
    """Features (N, D) projected to float32 (N, dimensions) by a sparse random matrix drawn by ``seed``.

    It preserves squared L2 distances in expectation. Its entries are ±sqrt(sqrt(D) / dimensions) with probability
    1 / sqrt(D), otherwise 0 (Li, Hastie & Church 2006). Inferred from the PatchCore code; the paper is silent.
    """
    wide, device = features.wide, features.device
    generator = torch.Generator().manual_seed(seed)
    density = 1 / math.sqrt(wide)
    draw = torch.rand(wide, dimensions, generator=generator)
    signs = (draw < density / 2).float() - (draw >= 1 - density / 2).float()
    matrix = (signs * math.sqrt(1 / (density * dimensions))).to(device)
    projected = matrix.new_empty(len(features), dimensions)
    sparse = _SparseProduct(matrix) if device.type == "cpu" else None
    for chunk, target in zip(features.chunks(), projected.split(features.rows_of()), strict=True):
        target.copy_(chunk @ matrix if sparse is None else sparse(chunk))
    return projected


class _SparseProduct:
    """Products with a matrix (D, K) of mostly zeros, which sum the columns that count: on a processor twice as fast as
    a dense product, and the same to the bit whatever the BLAS library and the number of threads."""

    def __init__(self, matrix: Tensor) -> None:
        column, self.row = torch.nonzero(matrix.T, as_tuple=True)
        self.weight = matrix[self.row, column]
        self.first = torch.searchsorted(column, torch.arange(matrix.shape[1]))

    def __call__(self, chunk: Tensor) -> Tensor:
        across = chunk.T.float().contiguous()
        return torch.nn.functional.embedding_bag(
            self.row, across, self.first, mode="sum", per_sample_weights=self.weight
        ).T


def integer_grid(features: Rows) -> Tensor:
    """Features (N, D), centred, scaled by a common factor and rounded to int16 (N, D) with norms of at most 2047.

    Integers are not scaled where their norms are at most 2047 as they are or once shifted by the rounded mean.
    Raises UnusableFeatures where a value is not finite, or so large that norms are not.
    """
    wide, device = features.wide, features.device
    total = torch.zeros(wide, dtype=torch.float64, device=device)
    for chunk in features.chunks():
        total += chunk.sum(0, dtype=torch.float64)
    centre = (total / len(features)).float()
    if all(bool((chunk == chunk.round()).all()) for chunk in features.chunks()):
        for shift in (torch.zeros_like(centre), centre.round()):
            if all(bool(_are_short(chunk - shift)) for chunk in features.chunks()):
                return torch.cat([(chunk - shift).short() for chunk in features.chunks()])
    longest = max(float((chunk - centre).norm(dim=1).max()) for chunk in features.chunks())
    if not math.isfinite(longest):  # NaN where a value is
        raise UnusableFeatures
    room = NORM_LIMIT - math.sqrt(wide) / 2  # rounding adds at most sqrt(D) / 2 to a norm
    scale = max(room, 1.0) / longest if longest > 0 else 0.0
    grid = torch.empty(len(features), wide, dtype=torch.int16, device=device)
    for chunk, target in zip(features.chunks(), grid.split(features.rows_of()), strict=True):
        target.copy_((chunk - centre).mul_(scale).round_())
    return grid


def _are_short(points: Tensor) -> Tensor:
    return (points.double().square().sum(1) <= NORM_LIMIT**2).all()


def greedy(grid: Tensor, count: int, *, start: int = 0, picked: int = 0, block: int | None = None) -> Tensor:
    """The picks of the greedy k-centre algorithm on integer points int16 (N, D), int64 (count,).

    The first ``picked`` points are taken as picks in their order; if there are none, ``start`` is the first pick.
    ``block``, the number of points updated together, changes the speed only. Raises ValueError for a count, start,
    block or number of picks out of range.
    """
    return selection(grid, count, start=start, picked=picked, block=block, counts=()).indices


class OrderedPicks(NamedTuple):
    """``indices`` int64 (count,), in the order picked; ``nearest[k]`` int32 (N,): for each point, the pick among the
    first k that was nearest when the point was last compared. None is farther from it than the k-th pick was from all
    picks before."""

    indices: Tensor
    nearest: dict[int, Tensor]


@exact_products()
def selection(
    grid: Tensor,
    count: int,
    *,
    start: int = 0,
    picked: int = 0,
    block: int | None = None,
    counts: Iterable[int] | None = None,
) -> OrderedPicks:
    """`greedy`, with the nearest picks after each of ``counts`` picks, by default `counts_of` them."""
    total = len(grid)
    if not 1 <= count <= total or not 0 <= start < total or not 0 <= picked <= count:
        raise ValueError(f"count {count}, start {start} and picked {picked} must lie within {total} points")
    if block is not None and block < 1:
        raise ValueError(f"block is {block}: it must be at least 1")
    wanted = counts_of(count) if counts is None else counts
    first = range(picked) if picked else [start]
    return _Greedy(grid, count, first, block=block, counts=wanted).run()


class _Greedy:
    """``bound[i]`` is at least the squared distance of point i to ``nearest[i]``, one of its first ``seen[i]`` picks,
    and so at least that to all picks; ``exact[i]`` is that to ``owner[i]``, the nearest of its first ``measured[i]``.

    A rough product lowers the bounds of a block where the processor multiplies int8 or bfloat16 faster than float32;
    what may then still be the farthest is measured exactly.
    """

    def __init__(
        self, grid: Tensor, count: int, first: Sequence[int], *, block: int | None, counts: Iterable[int] = ()
    ) -> None:
        total, device = len(grid), grid.device
        self.grid, self.count, self.block = grid, count, block or _block_of(*grid.shape)
        self.rows = max(1, CHUNK_VALUES // grid.shape[1])
        self.norms = torch.cat([chunk.float().square_().sum(1) for chunk in grid.split(self.rows)])
        self.bound, self.exact = (torch.full((total,), math.inf, device=device) for _ in range(2))
        self.seen, self.nearest, self.measured, self.owner = (
            torch.zeros(total, dtype=torch.int32, device=device) for _ in range(4)
        )
        self.centres = torch.empty(count, grid.shape[1], device=device)
        self.centre_norms = torch.empty(count, device=device)
        self.rough: GrowingInt8Product | GrowingProduct | None = None
        if multiplies_int8(device):
            self.rough = GrowingInt8Product(self.centres, CLIP * float(self.norms.mean() / grid.shape[1]) ** 0.5)
        elif multiplies_bfloat16(device):
            self.rough = GrowingProduct(self.centres)
        self.picks: list[int] = []
        self.counts = sorted({*counts, count}, reverse=True)
        self.kept: dict[int, Tensor] = {}
        for index in first:
            self._add(index)
        self._measure(torch.arange(total, device=device))
        self._keep()

    def run(self) -> OrderedPicks:
        while len(self.picks) < self.count:
            largest = torch.topk(self.bound, min(self.block + 1, len(self.bound)))
            outside = float(largest.values[-1]) if len(self.bound) > self.block else -1.0
            members = largest.indices[: self.block]
            if self.rough is not None:
                self._lower(members, self.rough)
                members = members[self.bound[members] >= outside]
            members = members.sort().values
            self._measure(members)
            best = float(self.bound[members].max()) if len(members) else -math.inf
            if best == 0 and outside <= 0:
                self._fill_up()
            elif best > outside:
                self._pick_within(members, outside)
            elif best == outside:
                self._pick_among_equals(best)
            self._keep()
        return OrderedPicks(torch.tensor(self.picks, dtype=torch.int64), self.kept)

    def _keep(self) -> None:
        """Keep the nearest picks once there are as many picks as wanted."""
        while self.counts and self.counts[-1] <= len(self.picks):
            self.kept[self.counts.pop()] = self.nearest.clone()

    def _add(self, index: int) -> None:
        position = len(self.picks)
        self.centres[position] = self.grid[index].float()
        self.centre_norms[position] = self.norms[index]
        self.picks.append(index)

    def _lower(self, members: Tensor, rough: GrowingInt8Product | GrowingProduct) -> None:
        """Lower the bounds of the members by the rough distances to the picks that they have not seen."""
        now = len(self.picks)
        rough.extend(now)
        for part in self._parts(members, self.seen):
            bound, nearest = self.bound[part], self.nearest[part]
            for upper, pick in rough.nearest(self._points(part), int(self.seen[part[0]]), now):
                nearest = torch.where(upper < bound, pick.int(), nearest)
                bound = torch.minimum(bound, upper)
            self.bound[part], self.nearest[part], self.seen[part] = bound, nearest, now

    def _measure(self, members: Tensor) -> None:
        """Compute the exact distances of the members to their nearest picks."""
        now = len(self.picks)
        for part in self._parts(members, self.measured):
            points, norms = self._points(part), self.norms[part]
            exact, owner = self.exact[part], self.owner[part]
            for first in range(int(self.measured[part[0]]), now, PICKS):
                last = min(first + PICKS, now)
                squared = torch.addmm(self.centre_norms[first:last], points, self.centres[first:last].T, alpha=-2)
                lowest, pick = _lowest(squared)
                lowest += norms
                owner = torch.where(lowest < exact, (pick + first).int(), owner)
                exact = torch.minimum(exact, lowest)
            self._write(part, exact, owner)

    def _points(self, members: Tensor) -> Tensor:
        return self.grid.index_select(0, members).float()

    def _parts(self, members: Tensor, up_to: Tensor) -> Iterable[Tensor]:
        """The members that are behind the picks, some at a time, those furthest behind first."""
        behind = members[up_to[members] < len(self.picks)]
        behind = behind[up_to[behind].argsort(stable=True)]
        return behind.split(self.rows) if len(behind) else ()

    def _write(self, members: Tensor, exact: Tensor, owner: Tensor) -> None:
        self.bound[members] = self.exact[members] = exact
        self.nearest[members] = self.owner[members] = owner
        self.seen[members] = self.measured[members] = len(self.picks)

    def _pick_within(self, members: Tensor, outside: float) -> None:
        """Pick the farthest member repeatedly, as long as it is farther than every bound outside. Only members beyond
        that bound can be picked."""
        members = members[self.bound[members] > max(outside, 0.0)]
        points, norms = self._points(members), self.norms[members]
        exact, owner = self.exact[members], self.owner[members]
        positions: list[int] = []
        first, squared = len(self.picks), torch.empty_like(norms)
        farthest = exact.numpy() if exact.device.type == "cpu" else exact  # looked up faster, in the same memory
        while first + len(positions) < self.counts[-1]:
            position = int(farthest.argmax())  # the lowest index among equals: members are in ascending order
            if farthest[position] <= max(outside, 0.0):
                break
            torch.addmv(norms, points, points[position], alpha=-2, out=squared)
            squared += norms[position]
            owner.masked_fill_(squared < exact, first + len(positions))
            torch.minimum(exact, squared, out=exact)
            positions.append(position)
        at, last = torch.tensor(positions, dtype=torch.int64, device=members.device), first + len(positions)
        self.centres[first:last], self.centre_norms[first:last] = points[at], norms[at]
        self.picks.extend(members[at].tolist())
        self._write(members, exact, owner)

    def _pick_among_equals(self, best: float) -> None:
        """The farthest members tie with bounds outside: measure these, then pick the lowest index."""
        tied = torch.nonzero(self.bound == best)[:, 0]
        self._measure(tied)
        self._add(int(tied[self.bound[tied] == best].min()))

    def _fill_up(self) -> None:
        """Every point coincides with a pick: the lowest indices not yet picked follow."""
        free = torch.ones(len(self.grid), dtype=torch.bool)
        free[self.picks] = False
        rest = torch.nonzero(free)[: self.count - len(self.picks), 0]
        self.picks.extend(int(index) for index in rest)


def _block_of(total: int, wide: int) -> int:
    """Few enough points that a pick among them is made in a cache, and many enough that few blocks are needed."""
    least, most = BLOCK_SIZES
    return min(most, max(least, min(total // 4, BLOCK_VALUES // wide)))


def _lowest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest value of each row, and its column."""
    if values.device.type != "cpu":
        lowest, column = values.min(1)
        return lowest, column
    column = torch.from_numpy(values.numpy().argmin(1))  # ten times as fast as torch's
    return values.gather(1, column[:, None])[:, 0], column
