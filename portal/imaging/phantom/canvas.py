"""The drawing surface of the phantom: pixel grids posed over the atlas, and functions that draw thicknesses on them.

Atlas space is in millimetres, x to the right of the film (the patient's left), y down, the midline at
x = 0, the field of view `FIELD_MM` wide and high, centred at y = `CENTRE_Y`. Nothing is
drawn in the atlas and then warped: each pixel is evaluated at the atlas point of its centre, so a pose is exact and
loses no sharpness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

FIELD_MM = 400.0
CENTRE_Y = 212.0


@dataclass(frozen=True)
class Grid:
    """Atlas coordinates of pixel centres: `x`, `y` (h, w) float32 in mm.

    A pixel covers `step` x `step` pixels of the film; `pixel_mm` is its side in the atlas.
    """

    x: Floats
    y: Floats
    step: int
    pixel_mm: float
    image_from_atlas: Points

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.x.shape[0], self.x.shape[1])

    def to_pixels(self, points: Points) -> Points:
        """Atlas points (n, 2) in pixels of this grid, (n, 2)."""
        return transform(self.image_from_atlas, points) / self.step

    def windows(self, points: Points, reach_mm: float, together: int) -> list[tuple[slice, slice]]:
        """Rows and columns around each run of `together` consecutive `points` (n, 2), with `reach_mm` to spare."""
        at, reach = self.to_pixels(points), reach_mm / self.pixel_mm * 1.15 + 1
        limits = np.array([self.shape[1], self.shape[0]])
        runs = np.lib.stride_tricks.sliding_window_view(at, together, axis=0)  # (n - together + 1, 2, together)
        low = np.clip(np.floor(runs.min(axis=2) - reach), 0, limits).astype(int).tolist()
        high = np.clip(np.ceil(runs.max(axis=2) + reach), 0, limits).astype(int).tolist()
        return [(slice(y0, y1), slice(x0, x1)) for (x0, y0), (x1, y1) in zip(low, high, strict=True)]

    def window(self, points: Points, reach_mm: float) -> tuple[slice, slice]:
        """The rows and columns that hold everything within `reach_mm` of `points` (n, 2)."""
        return self.windows(points, reach_mm, len(points))[0]


def make_grid(image_from_atlas: Points, size: int, step: int) -> Grid:
    """The grid of a film of `size` x `size` pixels in blocks of `step` (`size` is a multiple of it)."""
    inverse = invert(image_from_atlas)
    at = ((np.arange(size // step) + 0.5) * step)[None, :]
    x = inverse[0, 0] * at + (inverse[0, 1] * at.T + inverse[0, 2])
    y = inverse[1, 0] * at + (inverse[1, 1] * at.T + inverse[1, 2])
    area = abs(inverse[0, 0] * inverse[1, 1] - inverse[0, 1] * inverse[1, 0])
    pixel_mm = float(np.sqrt(area)) * step
    return Grid(x.astype(np.float32), y.astype(np.float32), step, pixel_mm, image_from_atlas)


def transform(target_from_source: Points, points: Points) -> Points:
    """Points (n, 2) through an affine map (2, 3)."""
    x, y = points[:, 0], points[:, 1]
    m = target_from_source
    return np.stack([m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]], axis=1)


def invert(affine: Points) -> Points:
    """The inverse of an affine map (2, 3), written out so that no linear-algebra library rounds it."""
    (a, b, tx), (c, d, ty) = affine
    det = a * d - b * c
    return np.array([[d / det, -b / det, (b * ty - d * tx) / det], [-c / det, a / det, (c * tx - a * ty) / det]])


class Profile:
    """A function of one coordinate, tabulated finely enough to use the nearest entry."""

    def __init__(
        self, function: Callable[[Points], Points], low: float = -200.0, high: float = 700.0, steps: int = 16
    ) -> None:
        at = np.arange(low, high, 1 / steps)
        self._low, self._steps = low, steps
        self._function = function
        self._table = function(at).astype(np.float32)

    def __call__(self, at: Floats) -> Floats:
        """The function at each element, float32; constant beyond the ends of the table."""
        index = ((at - np.float32(self._low)) * np.float32(self._steps)).astype(np.int32)
        return np.take(self._table, index, mode="clip")

    def exact(self, at: Reals) -> Points:
        """The function itself, float64."""
        return self._function(at.astype(np.float64))

    def at(self, value: float) -> float:
        """The function itself at one point."""
        return float(self._function(np.array([value]))[0])


def through(*knots: tuple[float, float], low: float = -200.0, high: float = 700.0, steps: int = 16) -> Profile:
    """A smooth monotone-preserving curve through (position, value) knots, constant beyond the ends."""
    from scipy.interpolate import PchipInterpolator

    places = np.array([k[0] for k in knots])
    curve = PchipInterpolator(places, np.array([k[1] for k in knots]))
    return Profile(lambda at: np.asarray(curve(np.clip(at, places[0], places[-1]))), low, high, steps)


def root(values: Reals) -> Floats:
    """Square root, 0 for negative values."""
    clipped = np.maximum(values, np.float32(0), dtype=np.float32)
    np.sqrt(clipped, out=clipped)
    return clipped


def smooth_curve(knots: Points, count: int) -> Points:
    """`count` points on a smooth curve through `knots` (n, 2) or (n, k), evenly spread in chord length."""
    from scipy.interpolate import CubicSpline

    steps = np.sqrt(((knots[1:, :2] - knots[:-1, :2]) ** 2).sum(axis=1))
    along = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(CubicSpline(along, knots)(np.linspace(0, along[-1], count)))


@dataclass(frozen=True)
class Band:
    """The part of a grid near a curve: its window, distances to the curve in mm and positions along the curve.

    `distance` (h, w) is at least `reach` far from the curve; `along` (h, w) runs from 0 to 1.
    """

    window: tuple[slice, slice]
    distance: Floats
    along: Floats


def near_curve(grid: Grid, curve: Points, reach: float) -> Band:
    """Distance and position to the polyline `curve` (n, 2) in the atlas, within `reach` mm of it."""
    window = grid.window(curve, reach)
    rows, columns = window
    distance = np.full((rows.stop - rows.start, columns.stop - columns.start), 2 * reach, np.float32)
    along = np.zeros_like(distance)
    for i, part in enumerate(grid.windows(curve, reach, 2)):
        x, y = grid.x[part], grid.y[part]
        if x.size == 0:
            continue
        local = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, window, strict=True))
        distances, t = _to_segment(x, y, curve[i], curve[i + 1])
        closer = distances < distance[local]
        distance[local] = np.where(closer, distances, distance[local])
        along[local] = np.where(closer, (t + np.float32(i)) / np.float32(len(curve) - 1), along[local])
    return Band(window, distance, along)


def _to_segment(x: Floats, y: Floats, start: Points, end: Points) -> tuple[Floats, Floats]:
    (x0, y0), (dx, dy) = start.astype(np.float32), (end - start).astype(np.float32)
    length2 = np.float32(max(float(dx * dx + dy * dy), 1e-9))
    rx, ry = x - x0, y - y0
    t = np.clip((rx * dx + ry * dy) / length2, 0, 1)
    return np.hypot(rx - t * dx, ry - t * dy), t


def tube(grid: Grid, curve: Points, radius: float | Points) -> tuple[tuple[slice, slice], Floats]:
    """Thickness in mm of a round tube along `curve` (n, 2), with one radius or a radius for each point of the curve."""
    radii = np.broadcast_to(np.asarray(radius, dtype=float), (len(curve),))
    band = near_curve(grid, curve, float(radii.max()) + grid.pixel_mm)
    r = np.interp(band.along, np.linspace(0, 1, len(curve)), radii).astype(np.float32)
    return band.window, 2 * root(r * r - band.distance * band.distance)


def ellipsoid(
    grid: Grid, centre: tuple[float, float], axes: tuple[float, float, float], degrees: float = 0.0
) -> Floats:
    """Thickness in mm of an ellipsoid over the whole grid; `axes` are semi-axes along x, y and the beam."""
    q = 1 - ellipse_radius2(grid, centre, axes[:2], degrees)
    return np.float32(2 * axes[2]) * root(q)


def ellipse_radius2(grid: Grid, centre: tuple[float, float], axes: tuple[float, float], degrees: float = 0.0) -> Floats:
    """Squared elliptic radius (1 on the outline), turned clockwise on screen by `degrees`."""
    angle = np.deg2rad(degrees)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = grid.x - np.float32(centre[0]), grid.y - np.float32(centre[1])
    u, v = (c * x + s * y) / np.float32(axes[0]), (c * y - s * x) / np.float32(axes[1])
    return np.asarray(u * u + v * v, np.float32)


def upsample2(values: Floats) -> Floats:
    """Twice the rows and columns by linear interpolation between pixel centres."""
    tall = np.empty((2 * values.shape[0], values.shape[1]), np.float32)
    _between(values, tall[0::2], tall[1::2])
    wide = np.empty((tall.shape[0], 2 * tall.shape[1]), np.float32)
    _between(tall.T, wide[:, 0::2].T, wide[:, 1::2].T)
    return wide


def _between(values: Floats, before: Floats, after: Floats) -> None:
    """Write the samples a quarter of a step before and after each row of `values`."""
    quarter = np.float32(0.25) * np.diff(values, axis=0)
    before[0], after[-1] = values[0], values[-1]
    np.subtract(values[1:], quarter, out=before[1:])
    np.add(values[:-1], quarter, out=after[:-1])


def shrink(values: Floats, factor: int) -> Floats:
    """Means over blocks of `factor` x `factor`."""
    h, w = values.shape[0] // factor, values.shape[1] // factor
    return np.asarray(values.reshape(h, factor, w, factor).mean(axis=(1, 3), dtype=np.float32))


def broad_blur(values: Floats, sigma: float, factor: int = 8) -> Floats:
    """Gaussian of `sigma` pixels, computed on blocks of `factor` (a power of two) and interpolated back."""
    small: Floats = ndimage.gaussian_filter(shrink(values, factor), sigma / factor, mode="nearest", truncate=3.0)
    while factor > 1:
        small = upsample2(small)
        factor //= 2
    return small


def splat(grid: Grid, points: Points, volume: Points) -> Floats:
    """Thickness in mm of small pieces of `volume` mm3 at `points` (n, 2), shared among four pixels each."""
    at = grid.to_pixels(points) - 0.5
    corner = np.floor(at).astype(np.int64)
    fx, fy = (at - corner).T
    h, w = grid.shape
    total = np.zeros(h * w)
    depth = volume / grid.pixel_mm**2
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            column, row = corner[:, 0] + dx, corner[:, 1] + dy
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            index = (row * w + column)[inside]
            total += np.bincount(index, weights=(depth * wx * wy)[inside], minlength=h * w)
    return total.reshape(h, w).astype(np.float32)


def clouds(rng: np.random.Generator, shape: tuple[int, int], cells: int, octaves: int = 4) -> Floats:
    """Smooth random field, mean about 0 and deviation about 1: `octaves` octaves from `cells` cells a side."""
    total = np.zeros(shape, np.float32)
    weight = 1.0
    for octave in range(octaves):
        n = cells * 2**octave
        coarse = rng.standard_normal((n + 3, n + 3)).astype(np.float32)
        rows = np.linspace(1, n + 1, shape[0])
        columns = np.linspace(1, n + 1, shape[1])
        total += np.float32(weight) * _bicubic(coarse, rows, columns)
        weight *= 0.55
    return total * np.float32(1.0)


def _bicubic(values: Floats, rows: Points, columns: Points) -> Floats:
    """Separable cubic B-spline of a coarse field at `rows` x `columns`."""
    for axis, at in ((0, rows), (1, columns)):
        values = np.moveaxis(values, axis, 0)
        base = np.minimum(np.floor(at).astype(int), values.shape[0] - 3)
        t = (at - base).astype(np.float32)
        weights = (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
        out = sum(w[:, None] * values[base + k - 1] for k, w in enumerate(weights))
        values = np.moveaxis(np.asarray(out, np.float32), 0, axis)
    return values
