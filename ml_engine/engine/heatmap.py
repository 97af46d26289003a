"""A scored film's heatmap: the fused map and its alignment. static/js/viewer/heatmap.js draws it in the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import EngineError
from ml_engine.engine.contours import contour, hottest

_ROWS_AT_A_TIME = 128


class NoPlaceOnFilm(EngineError):
    """A film's alignment has no inverse, so its heatmap cannot be shown on it."""


@dataclass(frozen=True)
class Heatmap:
    """`fused` (h, w) float64, NaN where masked; patch (r, c) covers [stride c, stride (c + 1)) x [stride r,
    stride (r + 1)) of the canonical film, and `original_from_canonical` (2, 3) maps that to original pixels.
    `low` and `high` are the ends of the colour scale; `threshold` is None if there is none."""

    fused: NDArray[np.float64]
    stride: int
    original_from_canonical: NDArray[np.float64]
    weight: float
    is_standardised: bool
    low: float
    high: float
    threshold: float | None

    def in_original(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (P, 2), (x, y) in patches, converted to original pixels."""
        affine = self.original_from_canonical
        original: NDArray[np.float64] = points * self.stride @ affine[:, :2].T + affine[:, 2]
        return original

    def outline(self) -> NDArray[np.float64]:
        """(S, 2, 2) segments of points (x, y) in original pixels, where the map crosses the threshold; none without a
        threshold or an alignment."""
        if self.threshold is None or not self.is_placed:
            return np.empty((0, 2, 2))
        segments = contour(self.fused, float(self.threshold))
        return self.in_original(segments.reshape(-1, 2)).reshape(-1, 2, 2)

    def hottest(self) -> tuple[float, float] | None:
        """The centre (x, y) of the highest patch in original pixels; None if all are masked or it has no position."""
        patch = hottest(self.fused)
        if patch is None or not self.is_placed:
            return None
        x, y = self.in_original(np.array([patch]))[0].tolist()
        return x, y

    @property
    def is_placed(self) -> bool:
        return bool(np.isfinite(self.original_from_canonical).all())

    def in_original_pixels(self, rows: int, columns: int) -> NDArray[np.float64]:
        """The map at each pixel's centre, (rows, columns) float64: bilinear between the centres of unmasked patches,
        NaN beyond the grid and in masked patches. Raises NoPlaceOnFilm for an affine without an inverse."""
        matrix = np.vstack([self.original_from_canonical, [0.0, 0.0, 1.0]])
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise NoPlaceOnFilm(
                "The film's alignment cannot be inverted, so its heatmap cannot be placed on the film: score it again."
            )
        (a, b, c), (d, e, f) = np.linalg.inv(matrix)[:2] / self.stride
        x = np.arange(columns) + 0.5
        values = np.empty((rows, columns), dtype=np.float64)
        for start in range(0, rows, _ROWS_AT_A_TIME):
            y = np.arange(start, min(rows, start + _ROWS_AT_A_TIME))[:, None] + 0.5
            values[start : start + len(y)] = _bilinear(self.fused, a * x + b * y + c, d * x + e * y + f)
        return values


def _bilinear(fused: NDArray[np.float64], px: NDArray[np.float64], py: NDArray[np.float64]) -> NDArray[np.float64]:
    """`fused` at positions in patches, (0, 0) is the outer corner of the first; masked neighbours are ignored."""
    height, width = fused.shape
    padded = np.pad(fused, 1, constant_values=np.nan)  # so that positions beyond the grid are masked
    weights = np.where(np.isnan(padded), 0.0, 1.0)
    values = np.nan_to_num(padded)
    px, py = np.clip(px, -0.5, width + 0.5), np.clip(py, -0.5, height + 0.5)
    inside = weights[np.floor(py).astype(np.intp) + 1, np.floor(px).astype(np.intp) + 1] > 0
    left, top = np.floor(px - 0.5).astype(np.intp), np.floor(py - 0.5).astype(np.intp)
    fx, fy = px - 0.5 - left, py - 0.5 - top
    total, weight = np.zeros(px.shape), np.zeros(px.shape)
    for down, across, share in (
        (0, 0, (1 - fx) * (1 - fy)),
        (0, 1, fx * (1 - fy)),
        (1, 0, (1 - fx) * fy),
        (1, 1, fx * fy),
    ):
        at = (np.clip(top + down + 1, 0, height + 1), np.clip(left + across + 1, 0, width + 1))
        counted = share * weights[at]
        weight += counted
        total += counted * values[at]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(inside, total / weight, np.nan)
