"""Where a film's map is high, as lines on the film: pure, arrays in, arrays out.

A map is (H, W), NaN where masked; a point (x, y) in patches has patch (r, c) at [c, c + 1) × [r, r + 1). The same
lines as the viewer's, on a coarser grid, for pictures of a hand's breadth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 2  # of the grid, a patch
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])  # of a cell, clockwise from the upper left


def hottest(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The centre (x, y), in patches, of the highest patch, of equal ones the first; None where all are masked."""
    if not np.isfinite(values).any():
        return None
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return float(column) + 0.5, float(row) + 0.5


def contour(values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """(S, 2, 2) segments of points (x, y), in patches, where the map crosses `level`: marching squares on the bilinear
    map at `STEPS` points a patch. A cell with a masked corner has no line; at a saddle the middle decides."""
    finer = _sampled(values) - level
    corners = np.stack([finer[:-1, :-1], finer[:-1, 1:], finer[1:, 1:], finer[1:, :-1]], axis=-1)
    above = corners >= 0
    crossed = np.isfinite(corners).all(axis=-1) & (above != np.roll(above, -1, axis=-1)).any(axis=-1)
    segments = [
        (_place(row, column, start, corners[row, column]), _place(row, column, end, corners[row, column]))
        for row, column in np.argwhere(crossed).tolist()
        for start, end in _lines(corners[row, column])
    ]
    return np.asarray(segments, dtype=np.float64).reshape(-1, 2, 2)


def _lines(corners: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The edges, 0 top, 1 right, 2 bottom, 3 left, that a line joins in one cell."""
    above = corners >= 0
    edges = np.flatnonzero(above != np.roll(above, -1)).tolist()
    if len(edges) == 2:
        return [(edges[0], edges[1])]
    return [(0, 1), (2, 3)] if (corners.sum() >= 0) == above[0] else [(3, 0), (1, 2)]


def _place(row: int, column: int, edge: int, corners: NDArray[np.float64]) -> tuple[float, float]:
    start, end = edge, (edge + 1) % 4
    share = corners[start] / (corners[start] - corners[end])
    x, y = _CORNERS[start] + share * (_CORNERS[end] - _CORNERS[start])
    return (column + x + 0.5) / STEPS, (row + y + 0.5) / STEPS


def _sampled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H · STEPS, W · STEPS): bilinear between the centres of unmasked patches, NaN in masked ones."""
    height, width = values.shape
    padded = np.pad(values, 1, constant_values=np.nan)
    total, weights = np.zeros((height * STEPS, width * STEPS)), np.zeros((height * STEPS, width * STEPS))
    (top, fy), (left, fx) = (_between(size) for size in (height, width))
    for down in (0, 1):
        for right in (0, 1):
            value = padded[(top + down)[:, None] + 1, left + right + 1]
            weight = np.where(down, fy, 1 - fy)[:, None] * np.where(right, fx, 1 - fx)
            known = np.isfinite(value)
            total += np.where(known, weight * np.where(known, value, 0.0), 0.0)
            weights += np.where(known, weight, 0.0)
    masked = ~np.isfinite(np.repeat(np.repeat(values, STEPS, axis=0), STEPS, axis=1))
    return np.where(masked | (weights == 0), np.nan, total / np.where(weights > 0, weights, 1.0))


def _between(size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each point of the finer grid, the patch whose centre lies before it, and how far on it is to the next."""
    at = (np.arange(size * STEPS) + 0.5) / STEPS - 0.5
    before = np.floor(at)
    return before.astype(np.int64), at - before
