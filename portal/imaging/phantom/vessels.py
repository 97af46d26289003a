"""Pulmonary vessels: trees that grow from the hila towards the pleura, all tips at once."""

from __future__ import annotations

import numpy as np
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
# vessels up to these radii in mm share a blur; the first needs none, those beyond the second little detail
_CLASSES_MM = (0.55, 1.1, 2.2, 12.0)


def grow(habitus: Habitus, rng: np.random.Generator) -> tuple[Points, Points]:
    """Points along all vessels: positions (n, 2) in the atlas and radii (n,) in mm."""
    places, radii = [], []
    for side in (-1, 1):
        tips = _trunks(habitus, rng, side)
        for _ in range(170):
            if tips.shape[0] == 0:
                break
            places.append(tips[:, :2].copy())
            radii.append(tips[:, 4].copy())
            tips = _advance(habitus, rng, tips, side)
    return np.concatenate(places), np.concatenate(radii)


def _trunks(habitus: Habitus, rng: np.random.Generator, side: int) -> Points:
    """Tips (n, 6): x, y, angle in the film's plane, tilt out of it, radius, length since the last fork."""
    trunks = np.repeat(np.array(_TRUNKS), 2, axis=0)  # arteries and veins
    n = len(trunks)
    angle = np.deg2rad(trunks[:, 2] + rng.normal(0, 13, n))
    y = trunks[:, 1] + (8 if side < 0 else 0) + rng.normal(0, 2, n)
    x = side * (trunks[:, 0] + rng.normal(0, 2, n))
    radius = trunks[:, 3] * habitus.vessels * rng.uniform(0.5, 1.0, n)
    heading = angle if side > 0 else np.pi - angle
    return np.column_stack([x, y, heading, rng.normal(0, 0.3, n), radius, np.zeros(n)])


def _advance(habitus: Habitus, rng: np.random.Generator, tips: Points, side: int) -> Points:
    """One step of every tip; some fork, those at the pleura or too thin end."""
    n = tips.shape[0]
    x, y, heading, tilt, radius, run = tips.T
    heading = heading + rng.normal(0, 0.035, n)
    step = STEP_MM * np.cos(tilt)
    x, y = x + step * np.cos(heading), y + step * np.sin(heading)
    radius = radius * (1 - 0.003 * STEP_MM)
    tips = np.column_stack([x, y, heading, tilt * 0.995, radius, run + STEP_MM])
    forks = rng.random(n) < STEP_MM / (4.0 + 2.0 * radius) * (run > 1.5 * radius)
    parents = tips[forks]
    share = rng.uniform(0.08, 0.42, len(parents))
    sign = np.where(rng.random(len(parents)) < 0.5, -1.0, 1.0)
    big, small = parents.copy(), parents.copy()
    big[:, 2] += sign * 0.45 * share
    small[:, 2] -= sign * (0.95 - 0.6 * share)
    small[:, 3] = np.clip(small[:, 3] + rng.normal(0, 0.35, len(parents)), -0.8, 0.8)
    big[:, 4] *= (1 - share) ** (1 / 2.8)
    small[:, 4] *= share ** (1 / 2.8)
    big[:, 5] = small[:, 5] = 0
    tips = np.concatenate([tips[~forks], big, small])
    return tips[_alive(habitus, tips, side)]


def _alive(habitus: Habitus, tips: Points, side: int) -> np.ndarray:
    x, y, radius = tips[:, 0], tips[:, 1], tips[:, 4]
    wall = habitus.chest(y.astype(np.float32)) - 5
    inside = (np.abs(x) < wall) & (x * side > 14) & (y > lung_apex(habitus, side) + 5)
    return inside & (y < habitus.dome_top(x, side) + 22) & (radius > 0.24)


def draw_vessels(grid: Grid, half: Grid, places: Points, radii: Points) -> Floats:
    """Thickness in mm of the vessels, (h, w) of `grid`; wide ones are drawn on `half` its resolution."""
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
