"""The covering radius of a memory bank: how far any patch is from the nearest vector of the bank.

The paper reports none; it shows how little more picks would gain. Each point keeps an upper bound of its distance to
the first picks. Only the points whose bound exceeds the radius so far are compared with the picks that they have not
seen, by a rough product with proven bounds; the few that may be the farthest are then measured in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.backbone.feature_file import Features, rows_at
from ml_engine.core.bank.rough_distances import FLOAT32_EPS, Side, product_for
from ml_engine.core.determinism import exact_products

CHUNK_VALUES = 2**19  # values of features at once: 2 MiB in float32, which stays in a cache
REFRESHED = 4096  # points refreshed at once, those with the largest bounds
MEASURED = 64  # points measured in float64 at once
PICKS = 4096  # picks compared at once
ROUNDED_UP = 1 + 1e-6  # covers the rounding of float64 to float32


class Rows:
    """Some rows of features (N, D), or all of them, read in chunks, so that features on disk are never copied whole."""

    def __init__(self, features: Features, rows: Tensor | None) -> None:
        self.features, self.rows = features, rows

    def __len__(self) -> int:
        return len(self.features if self.rows is None else self.rows)

    @property
    def wide(self) -> int:
        return self.features.shape[1]

    @property
    def device(self) -> torch.device:
        return self.features.device

    def chunks(self, values: int = CHUNK_VALUES) -> Iterator[Tensor]:
        """The rows in order, some at a time: about ``values`` numbers."""
        size = self.rows_of(values)
        if self.rows is None:
            yield from self.features.split(size)
        else:
            yield from (rows_at(self.features, part) for part in self.rows.split(size))

    def rows_of(self, values: int = CHUNK_VALUES) -> int:
        """How many rows have about ``values`` numbers, at least one."""
        return max(1, values // self.wide)

    def take(self, indices: Tensor) -> Tensor:
        """The features at ``indices``, which count within the rows; not copied where these follow one another."""
        rows = indices if self.rows is None else self.rows[indices.to(self.rows.device)]
        if rows.device.type == "cpu" and len(rows) and bool((rows.diff() == 1).all()):
            return self.features[int(rows[0]) : int(rows[-1]) + 1]
        return rows_at(self.features, rows)


def counts_of(count: int) -> list[int]:
    """The numbers of picks after which the covering radius is computed: 1, 32, 1024 and so on, half of ``count``, which
    shows what the second half gained, and ``count``."""
    half = -(-count // 2)
    return sorted({*(32**power for power in range(half.bit_length()) if 32**power < half), half, count})


@exact_products()
def covering_radius(
    features: Features,
    indices: Tensor,
    *,
    rows: Tensor | None = None,
    counts: Iterable[int] | None = None,
    nearest: Mapping[int, Tensor] | None = None,
) -> NDArray[np.float64]:
    """The covering radius after each of ``counts`` picks, float64 (len(indices),), NaN after other numbers of picks.

    It is the largest L2 distance of a feature (N, D), taken in float32, to its nearest pick, computed in float64.
    ``indices`` count within ``rows``, if there are any. ``counts`` are the keys of ``nearest`` or else `counts_of`.
    ``nearest[count]`` int32 (N,) names for each feature a pick that should be near, among the first ``count``; it
    changes the speed only.
    """
    hints = nearest or {}
    wanted = set(counts or hints or counts_of(len(indices)))
    radius = np.full(len(indices), np.nan)
    cover = _Cover(Rows(features, rows), indices.to(features.device))
    for count in sorted(wanted):
        radius[count - 1] = math.sqrt(cover.farthest(count, hints.get(count)))
    return radius


class _Cover:
    """``bound[i]`` is at least the squared distance of point i to the nearest of the first ``seen[i]`` picks, and
    ``exact[i]`` is that to the first ``measured[i]``."""

    def __init__(self, points: Rows, indices: Tensor) -> None:
        self.points, self.indices, total, device = points, indices, len(points), points.device
        self.picks = points.take(indices).float()
        self.centre = self.picks.mean(0)
        self.product = product_for(self.picks - self.centre)
        self.bound = torch.full((total,), math.inf, device=device)
        self.exact = torch.full((total,), math.inf, dtype=torch.float64, device=device)
        self.seen, self.measured = (torch.zeros(total, dtype=torch.int32, device=device) for _ in range(2))
        self.hinted = torch.full((total,), -1, dtype=torch.int32, device=device)

    def farthest(self, count: int, hints: Tensor | None = None) -> float:
        """The largest squared distance of any point to the nearest of the first ``count`` picks; counts must rise.

        ``hints`` int32 (N,) name a pick for each point. The picks that follow are measured first: the next one was
        the farthest point, or nearly, when it was picked.
        """
        unbounded = torch.nonzero(self.bound.isinf())[:, 0]
        if len(unbounded) and hints is not None:
            self._apply(hints, unbounded)
        elif len(unbounded):
            self._refresh(unbounded, 1)
        likely = self.indices[count : count + MEASURED]
        if len(likely) == 0:
            likely = self.bound.topk(min(MEASURED, len(self.bound))).indices
        best = self._measure(likely, count)
        while True:
            open_ = torch.nonzero((self.bound > best) & (self.measured < count))[:, 0]
            if len(open_) == 0:
                return best
            if hints is not None and len(changed := open_[hints[open_] != self.hinted[open_]]):
                self._apply(hints, changed)
            elif len(behind := open_[self.seen[open_] < count]) > MEASURED:
                self._refresh(self._largest(behind, REFRESHED), count)
            open_ = open_[self.bound[open_] > best]
            if len(open_):
                best = max(best, self._measure(self._largest(open_, MEASURED), count))

    def _apply(self, hints: Tensor, indices: Tensor) -> None:
        """Lower the bounds of some points by their distances to the picks that the hints name."""
        rounding = 1 + (self.points.wide + 8) * FLOAT32_EPS
        for part in indices.split(self.points.rows_of()):
            difference = self.points.take(part).float() - rows_at(self.picks, hints[part])
            self.bound[part] = torch.minimum(self.bound[part], difference.square_().sum(1) * rounding)
        self.hinted[indices] = hints[indices]

    def _largest(self, indices: Tensor, count: int) -> Tensor:
        if len(indices) <= count:
            return indices
        return indices[self.bound[indices].topk(count).indices]

    def _refresh(self, indices: Tensor, count: int) -> None:
        """Lower the bounds of some points by the picks that they have not seen."""
        indices = indices[self.seen[indices].argsort(stable=True)]
        for part in indices.split(self.points.rows_of()):
            prepared, queries = self.product.prepared(self.points.take(part).float() - self.centre)
            bound = self.bound[part]
            for first in range(int(self.seen[part[0]]), count, PICKS):
                last = min(first + PICKS, count)
                nearest = self.product.closeness(prepared, first, last).amax(1)
                side = Side(self.product.side.norms[first:last].amax(), self.product.side.residuals[first:last].amax())
                bound = torch.minimum(bound, self.product.bounds(nearest, queries, side)[1])
            self.bound[part] = bound
            self.seen[part] = count

    def _measure(self, indices: Tensor, count: int) -> float:
        """Compute the squared distance of some points exactly, and return the largest."""
        points = self.points.take(indices).float()
        prepared, queries = self.product.prepared(points - self.centre)
        exact = self.exact[indices]
        for first in range(int(self.measured[indices].min()), count, PICKS):
            last = min(first + PICKS, count)
            side = Side(self.product.side.norms[first:last], self.product.side.residuals[first:last])
            lower, upper = self.product.bounds(self.product.closeness(prepared, first, last), queries.column(), side)
            reach = torch.minimum(upper.amin(1), self.bound[indices])
            point, pick = torch.nonzero(lower <= reach[:, None], as_tuple=True)
            for at, to in zip(point.split(1024), (pick + first).split(1024), strict=True):
                squared = (points[at].double() - self.picks[to].double()).square().sum(1)
                exact = exact.scatter_reduce(0, at, squared, "amin")
        self.exact[indices] = exact
        self.measured[indices] = count
        self.bound[indices] = torch.minimum(self.bound[indices], exact.float() * ROUNDED_UP)
        return float(exact.max())
