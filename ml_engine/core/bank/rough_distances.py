"""Rough distances of queries to all vectors of a bank by one matrix product, with bounds that cover all rounding.

A product of centred vectors is the fastest way to compare everything with everything, and loses digits.
`Float32Product` and `BFloat16Product` say how many: for each pair they bound the exact squared distance from both
sides, so that whoever compares the bounds knows which bank vectors can be among the nearest. `GrowingInt8Product` only
proposes a near vector, and measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

PADDING = 16  # banks are padded to a multiple of this with rows that are infinitely far away
FLOAT32_EPS = torch.finfo(torch.float32).eps
BFLOAT16_ROUNDING = 2.0**-8  # at least twice the relative error of rounding to bfloat16
FAR = -1e38  # close to the lowest number of bfloat16
AT_ONCE = 1024  # vectors of a growing list compared at once
ALMOST_ONE = 1e-5  # covers the rounding of the bounds themselves


class Side(NamedTuple):
    """What bounds need to know of the vectors on one side of a product (N,): their squared norms, and how far each is
    from its rounded form."""

    norms: Tensor
    residuals: Tensor

    def at(self, indices: Tensor) -> Side:
        return Side(self.norms[indices], self.residuals[indices])

    def blocks(self, size: int) -> Side:
        """The largest of each block, where block j of n holds the members j, j + n, j + 2n, ..."""
        return Side(self.norms.view(size, -1).amax(0), self.residuals.view(size, -1).amax(0))

    def column(self) -> Side:
        """For bounds of a matrix with one row for each member."""
        return Side(self.norms[:, None], self.residuals[:, None])


class Product(Protocol):
    """Rough distances to a bank of centred vectors, padded to ``len(vectors)`` rows. ``side`` describes these rows."""

    vectors: Tensor
    side: Side

    def prepared(self, queries: Tensor) -> tuple[Tensor, Side]:
        """Centred queries float32 (Q, D) in the form for `closeness`, and their side."""
        ...

    def closeness(self, prepared: Tensor, first: int, last: int) -> Tensor:
        """For each query a number for each row from ``first`` up to ``last``, larger for nearer rows, (Q, rows)."""
        ...

    def bounds(self, closeness: Tensor, queries: Side, rows: Side) -> tuple[Tensor, Tensor]:
        """The lowest and the highest possible squared distance, float32, for closenesses of queries and rows; rising
        with the norm and residual of a row, so that a block can be bounded by its largest."""
        ...


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the processor has instructions for products of bfloat16, which torch sums in float32. A GPU may sum parts
    of them in bfloat16, which the bounds of `BFloat16Product` do not cover."""
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def multiplies_int8(device: torch.device) -> bool:
    """Whether the processor has instructions for products of int8, which are summed as integers."""
    return device.type == "cpu" and bool(torch.cpu._is_vnni_supported())


def product_for(centred: Tensor) -> Product:
    """The faster product for a bank of centred vectors float32 (M, D) on their device."""
    return BFloat16Product(centred) if multiplies_bfloat16(centred.device) else Float32Product(centred)


def _padded(values: Tensor, fill: float = 0.0) -> Tensor:
    more = -len(values) % PADDING
    return torch.cat([values, values.new_full((more, *values.shape[1:]), fill)]) if more else values


class Float32Product:
    """The product in float32. ``closeness`` is q.b - |b|^2 / 2."""

    def __init__(self, centred: Tensor) -> None:
        norms = centred.square().sum(1)
        self.vectors = _padded(centred)
        self.minus_half_norms = _padded(norms / -2, -math.inf)
        self.side = Side(_padded(norms), self.vectors.new_zeros(len(self.vectors)))

    def prepared(self, queries: Tensor) -> tuple[Tensor, Side]:
        return queries, Side(queries.square().sum(1), queries.new_zeros(len(queries)))

    def closeness(self, prepared: Tensor, first: int, last: int) -> Tensor:
        return torch.addmm(self.minus_half_norms[first:last], prepared, self.vectors[first:last].T)

    def bounds(self, closeness: Tensor, queries: Side, rows: Side) -> tuple[Tensor, Tensor]:
        squared = queries.norms - 2 * closeness
        # the sum of D products and both squared norms, each with an error of D roundings at most
        noise = 2 * self.vectors.shape[1] * FLOAT32_EPS * (queries.norms + rows.norms)
        return squared - noise, squared + noise


class BFloat16Product:
    """The product in bfloat16, which many processors multiply twice to four times as fast as float32.

    Queries q and bank vectors b are rounded to q', b'. The product of q' and b', less half their squared norms (each as
    the sum of three numbers of bfloat16), is -|q' - b'|^2 / 2: the ``closeness``. Its sum is rounded in float32, its
    result to bfloat16, so that this error is relative to the distance instead of to the norms. By the triangle
    inequality, |q - b| differs from |q' - b'| by at most |q - q'| + |b - b'|.
    """

    def __init__(self, centred: Tensor) -> None:
        rounded, self.side = _rounded(centred)
        self.wide = centred.shape[1]
        minus_halves = _in_three(self.side.norms / -2)
        vectors = torch.cat([rounded, minus_halves, rounded.new_full((len(rounded), 3), -1)], 1)
        more = -len(vectors) % PADDING
        if more:
            far = vectors.new_zeros(more, vectors.shape[1])
            far[:, self.wide] = FAR
            vectors = torch.cat([vectors, far])
        self.vectors = vectors
        self.side = Side(_padded(self.side.norms), _padded(self.side.residuals))

    def prepared(self, queries: Tensor) -> tuple[Tensor, Side]:
        rounded, side = _rounded(queries)
        return torch.cat([rounded, rounded.new_ones(len(rounded), 3), _in_three(side.norms / 2)], 1), side

    def closeness(self, prepared: Tensor, first: int, last: int) -> Tensor:
        return prepared @ self.vectors[first:last].T

    def bounds(self, closeness: Tensor, queries: Side, rows: Side) -> tuple[Tensor, Tensor]:
        squared = -2 * closeness.float()
        # D + 6 products, whose absolute values sum to the squared norms at most, and these norms themselves
        noise = 2 * (self.wide + 6) * FLOAT32_EPS * (queries.norms + rows.norms)
        spread = BFLOAT16_ROUNDING * squared.abs() + noise
        apart = queries.residuals + rows.residuals
        lower = ((squared - spread).clamp_min(0).sqrt() - apart).clamp_min(0).square()
        upper = ((squared + spread).clamp_min(0).sqrt() + apart).square()
        return lower * (1 - ALMOST_ONE), upper * (1 + ALMOST_ONE)


class GrowingProduct:
    """`BFloat16Product` of points with a list of vectors that grows, on a processor.

    It is for small numbers around 0, since nothing is centred.
    """

    def __init__(self, vectors: Tensor) -> None:
        """For a list that grows in ``vectors`` float32 (count, D)."""
        count, wide = vectors.shape
        self.listed = vectors
        self.product = BFloat16Product(torch.zeros(1, wide))
        self.product.vectors = torch.zeros(count, wide + 6, dtype=torch.bfloat16)
        self.product.side = Side(torch.zeros(count), torch.zeros(count))
        self.length = 0

    def extend(self, count: int) -> None:
        """The first ``count`` vectors are known now."""
        first, self.length = self.length, count
        if count > first:
            more = BFloat16Product(self.listed[first:count])
            self.product.vectors[first:count] = more.vectors[: count - first]
            self.product.side.norms[first:count] = more.side.norms[: count - first]
            self.product.side.residuals[first:count] = more.side.residuals[: count - first]

    def nearest(self, points: Tensor, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """A near vector of those from ``first`` up to ``last`` for each of the points float32 (N, D): upper bounds of
        the squared distances to it, float32 (N,), and its index, int64 (N,); once for every `AT_ONCE` vectors."""
        prepared, queries = self.product.prepared(points)
        for start in range(first, last, AT_ONCE):
            closeness = self.product.closeness(prepared, start, min(start + AT_ONCE, last))
            # without its sign, a negative number of bfloat16 orders like an integer: the lowest is the nearest
            order = closeness.view(torch.int16).numpy().view(np.uint16)
            column = torch.from_numpy(order.argmin(1))
            near = closeness.gather(1, column[:, None])[:, 0]
            yield self.product.bounds(near, queries, self.product.side.at(start + column))[1], start + column


class GrowingInt8Product:
    """Near vectors of a growing list of small integers, by a product in int8, which processors with the instructions
    for it multiply twice as fast as bfloat16.

    Points and vectors are rounded, and clipped, to 255 steps, so that the product only proposes a vector; the distance
    to that one is then computed exactly.
    """

    def __init__(self, vectors: Tensor, largest: float) -> None:
        """For a list that grows in ``vectors`` float32 (count, D), of integers; points beyond ±``largest`` are
        clipped."""
        self.vectors = vectors
        self.scale = 127 / max(largest, 1.0)
        self.rounded = torch.zeros(vectors.shape, dtype=torch.int8)
        self.half_norms = torch.zeros(len(vectors), dtype=torch.int32)
        self.length = 0

    def extend(self, count: int) -> None:
        """The first ``count`` vectors are known now."""
        new = slice(self.length, count)
        self.rounded[new] = self._in_steps(self.vectors[new])
        self.half_norms[new] = self.rounded[new].int().square().sum(1).div(2, rounding_mode="floor")
        self.length = count

    def nearest(self, points: Tensor, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """A near vector of those from ``first`` up to ``last`` for each of the points float32 (N, D), as
        `GrowingProduct.nearest`; the squared distance is exact."""
        prepared = self._in_steps(points)
        for start in range(first, last, AT_ONCE):
            part = slice(start, min(start + AT_ONCE, last))
            products = torch._int_mm(prepared, self.rounded[part].T)
            farness = torch.sub(self.half_norms[part], products, out=products)
            column = start + torch.from_numpy(farness.numpy().argmin(1))
            yield (points - self.vectors.index_select(0, column)).square_().sum(1), column

    def _in_steps(self, vectors: Tensor) -> Tensor:
        return (vectors * self.scale).round_().clamp_(-127, 127).to(torch.int8)


def _rounded(vectors: Tensor) -> tuple[Tensor, Side]:
    """Vectors float32 (N, D) in bfloat16, with the squared norms of these."""
    rounded = vectors.bfloat16()
    plain = rounded.float()
    return rounded, Side(plain.square().sum(1), (vectors - plain).norm(dim=1) * (1 + ALMOST_ONE))


def _in_three(values: Tensor) -> Tensor:
    """Values float32 (N,) as three numbers of bfloat16 (N, 3), whose sum is the value to 24 bits."""
    high = values.bfloat16()
    middle = (values - high.float()).bfloat16()
    return torch.stack([high, middle, (values - high.float() - middle.float()).bfloat16()], 1)
