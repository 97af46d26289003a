"""Synthetic lesions of known size and contrast to paste into any film, in the shapes of the phantom's findings.

A film is float32 (H, W) in [0, 1], larger = brighter. A lesion changes the film by ``contrast`` where it is thickest
(brighter for a nodule and an effusion, darker for a pneumothorax) and not at all outside its footprint. It is drawn on
the finished gray scale, without scatter, noise or processing of its own, so it does not look like a real lesion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from portal.imaging.phantom.canvas import Floats, Grid, Mask, root
from portal.imaging.phantom.findings import fluid_depth, nodule_radius2, pleura_gap

KINDS = ("nodule", "effusion", "pneumothorax")
LEAST_LUNG_PX = 12  # rows and columns: a smaller lung gets no lesion
APEX = 0.75  # share of a lung's height above which air also collects over the apex
LINE_MM = 1.0  # width of the line of the visceral pleura
LINE_SHARE = 0.5  # brightening by that line over darkening by the air


@dataclass(frozen=True)
class Lesion:
    """``change`` (h, w) float32 in [-1, 1] is the change at contrast 1 in the window ``rows`` x ``columns`` of the
    film, 0 outside the footprint; ``centre`` (x, y) in the film's pixels: the thickest point of a nodule, the
    centroid of fluid or air."""

    rows: slice
    columns: slice
    change: Floats
    centre: tuple[float, float]

    def points(self) -> NDArray[np.float64]:
        """The centres of the footprint's pixels, (n, 2) as (x, y) in the film's pixels."""
        row, column = np.nonzero(self.change)
        return np.stack([column + self.columns.start + 0.5, row + self.rows.start + 0.5], axis=1).astype(np.float64)


def paste(film: Floats, lesion: Lesion, contrast: float) -> Floats:
    """Return a copy of the film (H, W) in [0, 1] with the lesion added, clipped to [0, 1]."""
    changed = film.copy()
    window = changed[lesion.rows, lesion.columns]
    np.clip(window + np.float32(contrast) * lesion.change, 0, 1, out=window, where=lesion.change != 0)
    return changed


def nodule(
    shape: tuple[int, int],
    centre: tuple[float, float],
    *,
    size_mm: float,
    spacing_mm: tuple[float, float],
    rng: np.random.Generator,
) -> Lesion:
    """A sphere's shadow with a diameter of ``size_mm`` at ``centre`` (x, y) in pixels of a film of this shape (H, W),
    slightly flattened and irregular. ``spacing_mm`` is (between rows, between columns)."""
    squash, turn, phases = float(rng.uniform(0.82, 1.0)), float(rng.uniform(0, 180)), rng.uniform(0, 6.28, 3)
    reach_y, reach_x = (0.6 * size_mm / spacing for spacing in spacing_mm)
    rows = _span(centre[1], reach_y, shape[0])
    columns = _span(centre[0], reach_x, shape[1])
    grid = _grid(rows, columns, spacing_mm)
    at_mm = (centre[0] * spacing_mm[1], centre[1] * spacing_mm[0])
    q = nodule_radius2(grid, at_mm, size_mm / 2, squash=squash, turn=turn, phases=phases)
    change = root(1 - q)
    if not change.any():  # smaller than a pixel: it fills that pixel
        change.flat[np.argmin(q)] = 1
    return Lesion(rows, columns, change, centre)


def effusion(lung: Mask, *, side: int, size_mm: float, spacing_mm: tuple[float, float]) -> Lesion | None:
    """Fluid at the base of a lung (H, W) bool, ``size_mm`` high at the chest wall, where its surface rises; ``side`` is
    -1 for the lung on the left of the film, 1 for the other. None if the lung is too small."""
    window = _window(lung)
    if window is None:
        return None
    rows, columns = window
    inside, grid = lung[window], _grid(rows, columns, spacing_mm)
    lateral = _lateral(inside, side)
    base = float(grid.y.max()) + spacing_mm[0] / 2
    surface = np.asarray(base - size_mm + 0.4 * size_mm * (1 - lateral**4), np.float32)
    change = fluid_depth(grid.y, surface, over_mm=max(0.5 * size_mm, 2 * spacing_mm[0])) * inside
    return _scaled(change, rows, columns)


def pneumothorax(lung: Mask, *, side: int, size_mm: float, spacing_mm: tuple[float, float]) -> Lesion | None:
    """Air between the chest wall and a lung (H, W) bool that has collapsed by ``size_mm`` at its apex and less below,
    with the fine line of the pleura; ``side`` as for `effusion`. None if the lung is too small."""
    window = _window(lung)
    if window is None:
        return None
    rows, columns = window
    inside = lung[window]
    height = np.linspace(1, 0, inside.shape[0])[:, None]
    from_wall = _from_wall(inside, side) * spacing_mm[1]
    from_top = _from_top(inside) * spacing_mm[0]
    gap = pleura_gap(height, size_mm)
    apex = (from_top < 0.8 * size_mm) & (height > APEX)
    free = inside & ((from_wall < gap) | apex)
    if free.sum() == inside.sum():  # the whole lung has collapsed: no pleural line remains
        return _scaled(-inside.astype(np.float32), rows, columns)
    soft = ndimage.gaussian_filter(free.astype(np.float32), 0.6, truncate=3.0) * inside
    width = max(1, round(LINE_MM / spacing_mm[1]))
    line = ndimage.binary_dilation(free, iterations=width) & inside & ~free
    change = np.where(line, np.float32(LINE_SHARE), -soft)
    return _scaled(np.asarray(change, np.float32), rows, columns)


def _span(centre: float, reach: float, length: int) -> slice:
    """The film's pixels within ``reach`` of the centre, at least the pixel of the centre."""
    own = min(max(int(np.floor(centre)), 0), length - 1)
    return slice(
        max(0, min(own, int(np.floor(centre - reach)))), min(length, max(own, int(np.ceil(centre + reach))) + 1)
    )


def _grid(rows: slice, columns: slice, spacing_mm: tuple[float, float]) -> Grid:
    """Pixel centres of the window in mm from the film's corner."""
    y = (np.arange(rows.start, rows.stop) + 0.5) * spacing_mm[0]
    x = (np.arange(columns.start, columns.stop) + 0.5) * spacing_mm[1]
    xs, ys = np.meshgrid(x, y)
    return Grid(xs.astype(np.float32), ys.astype(np.float32), 1, spacing_mm[1], np.eye(2, 3))


def _window(lung: Mask) -> tuple[slice, slice] | None:
    """The rows and columns that a lung covers; None if there are too few."""
    across, down = np.flatnonzero(lung.any(0)), np.flatnonzero(lung.any(1))
    if len(across) < LEAST_LUNG_PX or len(down) < LEAST_LUNG_PX:
        return None
    return slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1)


def _from_wall(inside: Mask, side: int) -> NDArray[np.float64]:
    """Columns between each pixel and the lung's lateral edge in its row; negative outside the lung."""
    width = inside.shape[1]
    column = np.arange(width, dtype=np.float64)[None, :]
    if side < 0:
        return np.asarray(column - np.where(inside.any(1), inside.argmax(1), width)[:, None])
    last = width - 1 - inside[:, ::-1].argmax(1)
    return np.asarray(np.where(inside.any(1), last, -1)[:, None] - column)


def _from_top(inside: Mask) -> NDArray[np.float64]:
    """Rows between each pixel and the lung's upper edge in its column; negative outside the lung."""
    row = np.arange(inside.shape[0], dtype=np.float64)[:, None]
    return np.asarray(row - np.where(inside.any(0), inside.argmax(0), inside.shape[0])[None, :])


def _lateral(inside: Mask, side: int) -> NDArray[np.float64]:
    """From 0 at the lung's medial edge to 1 at its lateral edge, over the lung's whole width."""
    width = inside.shape[1]
    share = (np.arange(width) + 0.5) / width
    return np.broadcast_to(share if side > 0 else 1 - share, inside.shape)


def _scaled(change: Floats, rows: slice, columns: slice) -> Lesion | None:
    """The lesion scaled to a maximum of 1, with the centroid as its centre; None if the change is 0 everywhere."""
    most = float(np.abs(change).max())
    if most == 0:
        return None
    change = np.asarray(change / np.float32(most), np.float32)
    weight = np.abs(change)
    y, x = ndimage.center_of_mass(weight)
    return Lesion(rows, columns, change, (float(x) + columns.start + 0.5, float(y) + rows.start + 0.5))
