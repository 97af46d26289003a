"""Contour lines of a film's anomaly map: a pure function of arrays.

A map is (H, W), NaN where masked. Points (x, y) are in patches: patch (r, c) covers [c, c + 1) × [r, r + 1). The lines
are those of the viewer on a coarser grid, for small figures.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray

STEPS = 2  # grid points per patch and axis


def hottest(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The centre (x, y), in patches, of the highest patch, the first if several are equal; None if all are masked."""
    if not np.isfinite(values).any():
        return None
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return float(column) + 0.5, float(row) + 0.5


def contour(values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """(S, 2, 2) segments of points (x, y), in patches, where the map crosses `level`: marching squares on the bilinear
    map at `STEPS` points per patch. No line passes a square with a masked corner; at a saddle the centre decides."""
    generator = contour_generator(
        z=_sampled(values),
        name="serial",
        corner_mask=False,  # otherwise contourpy cuts a square with one masked corner into a triangle
        line_type=LineType.Separate,
    )
    # contourpy counts a point at the level as below it; here it is above, since a patch at the threshold is marked
    lines = cast(list[NDArray[np.float64]], generator.lines(float(np.nextafter(level, -np.inf))))
    segments = [np.stack([line[:-1], line[1:]], axis=1) for line in lines]
    return (np.concatenate([np.empty((0, 2, 2)), *segments]) + 0.5) / STEPS


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
    """For each point of the finer grid: the patch whose centre precedes it, and the fraction of the way to the next."""
    at = (np.arange(size * STEPS) + 0.5) / STEPS - 0.5
    before = np.floor(at)
    return before.astype(np.int64), at - before
