"""Pulmonary vessels: trees that grow from the hila towards the pleura, all tips at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from portal.imaging.phantom.anatomy import Habitus, lung_apex
from portal.imaging.phantom.canvas import Floats, Grid, Points, splat, upsample2

STEP_MM = 1.1
# where the great branches start, seen for side +1: x, y, direction in degrees below the horizontal (outwards),
# radius in mm; the right hilum lies lower than the left
_TRUNKS = (
    (34, 150, -70, 4.4),
    (38, 150, -35, 4.0),
    (40, 154, -5, 3.8),
    (42, 160, 28, 4.2),
    (44, 172, 62, 6.2),
    (46, 186, 80, 5.6),
    (44, 178, 45, 4.4),
    (36, 186, 20, 3.8),
    (36, 182, 55, 4.6),
    (38, 152, -55, 3.2),
    (42, 165, 8, 3.4),
    (44, 190, 66, 4.4),
)
# vessels up to each of these radii in mm share a blur; the first class needs none, those after the second little detail
_CLASSES_MM = (0.55, 1.1, 2.2, 12.0)


def grow(habitus: Habitus, rng: np.random.Generator) -> tuple[Points, Points]:
    """Return points along all vessels: positions (n, 2) in the atlas and radii (n,) in mm."""
    tips = np.concatenate([_trunks(habitus, rng, side) for side in (-1, 1)])
    history = []
    for _ in range(170):
        if tips.shape[0] == 0:
            break
        history.append(tips[:, :5])
        tips = _advance(habitus, rng, tips)
    passed = np.concatenate(history)
    return passed[:, :2], passed[:, 4]


def _trunks(habitus: Habitus, rng: np.random.Generator, side: int) -> Points:
    """Tips (n, 7): x, y, angle in the film's plane, tilt out of it, radius, mm since the last fork, side."""
    trunks = np.repeat(np.array(_TRUNKS), 2, axis=0)  # arteries and veins
    n = len(trunks)
    angle = np.deg2rad(trunks[:, 2] + rng.normal(0, 13, n))
    y = trunks[:, 1] + (8 if side < 0 else 0) + rng.normal(0, 2, n)
    x = side * (trunks[:, 0] + rng.normal(0, 2, n))
    radius = trunks[:, 3] * habitus.vessels * rng.uniform(0.5, 1.0, n)
    heading = angle if side > 0 else np.pi - angle
    return np.column_stack([x, y, heading, rng.normal(0, 0.3, n), radius, np.zeros(n), np.full(n, side)])


def _advance(habitus: Habitus, rng: np.random.Generator, tips: Points) -> Points:
    """Advance every tip by a step; some fork, and those at the pleura or too thin end."""
    tips = tips.copy()
    n = tips.shape[0]
    tips[:, 2] += rng.normal(0, 0.035, n)
    step = STEP_MM * np.cos(tips[:, 3])
    tips[:, 0] += step * np.cos(tips[:, 2])
    tips[:, 1] += step * np.sin(tips[:, 2])
    tips[:, 4] *= 1 - 0.003 * STEP_MM
    tips[:, 5] += STEP_MM
    radius, run = tips[:, 4], tips[:, 5]
    forks = (rng.random(n) < STEP_MM / (4.0 + 2.0 * radius)) & (run > 1.5 * radius)
    tips = np.concatenate([tips[~forks], *_fork(rng, tips[forks])])
    return tips[_alive(habitus, tips)]


def _fork(rng: np.random.Generator, parents: Points) -> tuple[Points, Points]:
    """Two branches for each parent; radii share its cross-section by about Murray's law."""
    n = parents.shape[0]
    share = rng.uniform(0.08, 0.42, n)
    sign = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    big, small = parents.copy(), parents.copy()
    big[:, 2] += sign * 0.45 * share
    small[:, 2] -= sign * (0.95 - 0.6 * share)
    small[:, 3] = np.clip(small[:, 3] + rng.normal(0, 0.35, n), -0.8, 0.8)
    big[:, 4] *= (1 - share) ** (1 / 2.8)
    small[:, 4] *= share ** (1 / 2.8)
    big[:, 5] = small[:, 5] = 0
    return big, small


def _alive(habitus: Habitus, tips: Points) -> NDArray[np.bool_]:
    x, y, radius, side = tips[:, 0], tips[:, 1], tips[:, 4], tips[:, 6]
    wall = habitus.chest(y.astype(np.float32)) - 5
    base = np.where(side < 0, habitus.dome_top(x, -1), habitus.dome_top(x, 1)) + 22
    inside = (np.abs(x) < wall) & (x * side > 14) & (y > lung_apex(habitus, 1) + 5)
    return np.asarray(inside & (y < base) & (radius > 0.24))


def draw_vessels(grid: Grid, half: Grid, places: Points, radii: Points) -> Floats:
    """Thickness in mm of the vessels, (h, w) of `grid`; wide vessels are drawn at `half` resolution."""
    fine, coarse = np.zeros(grid.shape, np.float32), np.zeros(half.shape, np.float32)
    low = 0.0
    for number, high in enumerate(_CLASSES_MM):
        chosen = (radii > low) & (radii <= high)
        low = high
        r = radii[chosen]
        if r.size == 0:
            continue
        on, total = (grid, fine) if number < 2 else (half, coarse)
        drawn = splat(on, places[chosen], np.pi * r * r * STEP_MM)
        sigma = 0.5 * float(np.sqrt((r * r).mean())) / on.pixel_mm
        total += drawn if sigma < 0.5 else ndimage.gaussian_filter(drawn, sigma, truncate=3.0)
    return fine + upsample2(coarse)
