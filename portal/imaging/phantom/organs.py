"""Soft tissue and air: thickness of each along the beam in mm, on a grid of half the film's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from portal.imaging.phantom.anatomy import HEART_ANCHOR, HEART_PARTS, Habitus, lung_apex
from portal.imaging.phantom.canvas import (
    Floats,
    Grid,
    Mask,
    Points,
    ellipse_radius2,
    ellipsoid,
    root,
    smooth_curve,
    through,
    tube,
)

CAGE_DEPTH = 0.66  # depth of the thoracic cavity over its width


@dataclass(frozen=True)
class Organs:
    """Thickness in mm along the beam, each (h, w) float32.

    `body` is everything inside the skin. `cavity` is the thoracic cavity, and `lung` the part of it outside the
    heart, the mediastinum and the abdomen. `gas` is free air: trachea, bronchi, stomach, bowel.
    """

    body: Floats
    cavity: Floats
    heart: Floats
    lung: Floats
    gas: Floats


def draw_organs(habitus: Habitus, grid: Grid) -> Organs:
    """Return all soft tissue and air of a person."""
    cavity = _cavity(habitus, grid)
    heart = np.minimum(_heart(habitus, grid), cavity)
    centre = np.minimum(_mediastinum(habitus, grid, cavity), cavity)
    filled = (heart**3 + centre**3) ** np.float32(1 / 3)
    lung = np.maximum(cavity - filled - _abdomen(habitus, grid, cavity), 0)
    # a bronchus inside the lung displaces air, not soft tissue
    solid = 1 - lung / np.maximum(cavity, 1)
    gas = _airways(habitus, grid) * np.clip(solid, 0.2, 1) + _bowel_gas(habitus, grid)
    return Organs(_body(habitus, grid), cavity, heart, lung, gas)


def _cavity(habitus: Habitus, grid: Grid) -> Floats:
    """The space inside the ribs, with the two domes of the apices."""
    wide = np.maximum(habitus.chest(grid.y), np.float32(1e-3))
    rho = grid.x / wide
    depth = np.minimum(np.float32(2 * CAGE_DEPTH) * wide, np.float32(2 * habitus.depth - 40))
    inside = depth * root(1 - np.abs(rho) ** np.float32(3.6))
    distance = np.abs(grid.x)
    for side in (-1, 1):
        top = np.float32(lung_apex(habitus, side)) + np.float32(0.0075) * (distance - 50) ** 2
        under = root(np.clip((grid.y - top) / np.float32(55), 0, 1))
        inside = np.where(grid.x * side > 0, inside * under, inside)
    return np.asarray(inside, np.float32)


def heart_silhouette(habitus: Habitus, grid: Grid) -> Mask:
    """Bool (h, w): inside the outline of the heart."""
    return _heart(habitus, grid) > 0


def _heart(habitus: Habitus, grid: Grid) -> Floats:
    across, down = habitus.heart_scale
    frame = Grid(
        grid.x / np.float32(across),
        (grid.y - np.float32(HEART_ANCHOR)) / np.float32(down) + np.float32(HEART_ANCHOR),
        grid.step,
        grid.pixel_mm,
        grid.image_from_atlas,
    )
    total = np.zeros(grid.shape, np.float32)
    for cx, cy, a, b, depth, degrees in HEART_PARTS:
        total += ellipsoid(frame, (cx, cy), (a, b, depth * across), degrees) ** 4
    return np.asarray(total ** np.float32(0.25), np.float32)


def _mediastinum(habitus: Habitus, grid: Grid, cavity: Floats) -> Floats:
    """Spine and great vessels inside the cavity: everything between the lungs except the heart."""
    x = grid.x - habitus.spine(grid.y)
    right = through((40, 52), (60, 39), (90, 28), (130, 25), (165, 22), (200, 22), (300, 22))(grid.y)
    left = through((40, 52), (60, 38), (85, 28), (110, 23), (150, 21), (300, 22))(grid.y)
    share = through((40, 1.0), (110, 0.92), (170, 0.78), (300, 0.78))(grid.y)
    soft = through((110, 0.0), (180, 1.0))(grid.y)
    q = np.abs(x) / np.where(x < 0, right, left)
    sharp = root(1 - q**3)
    parts = (cavity * share * (sharp + soft * (np.maximum(1 - q * q, 0) ** 1.5 - sharp))) ** 3
    for curve, radius in _great_vessels(habitus):
        window, thick = tube(grid, curve, radius)
        parts[window] += (2.2 * thick) ** 3
    return np.asarray(parts ** np.float32(1 / 3), np.float32)


def _great_vessels(habitus: Habitus) -> list[tuple[Points, Points]]:
    """Aorta, pulmonary trunk, superior vena cava, left subclavian: curves and radii."""
    k = habitus.knob
    arch = np.array(
        [(-14, 176), (-16, 140), (-4, 122), (12, 118), (22, 120), (23, 138), (20, 170), (16, 220), (10, 300)], float
    )
    aorta = smooth_curve(arch, 60)
    radius = np.interp(np.linspace(0, 1, 60), [0, 0.3, 0.45, 0.6, 1], [k, k, k, 0.92 * k, 0.8 * k])
    trunk = smooth_curve(np.array([(16, 200), (24, 178), (28, 164), (26, 154)], float), 14)
    cava = smooth_curve(np.array([(-14, 84), (-19, 110), (-21, 150), (-20, 195)], float), 16)
    subclavian = smooth_curve(np.array([(20, 112), (22, 90), (26, 72), (42, 48), (60, 30)], float), 14)
    return [
        (aorta, radius),
        (trunk, np.linspace(19, 14, 14)),
        (cava, np.full(16, 11.0)),
        (subclavian, np.linspace(9, 4, 14)),
        *_pulmonary_arteries(),
    ]


def _pulmonary_arteries() -> list[tuple[Points, Points]]:
    """The hila: the artery to the right lower lobe, and the left artery arching over its bronchus."""
    right = smooth_curve(np.array([(-22, 164), (-36, 168), (-46, 184), (-53, 212)], float), 16)
    left = smooth_curve(np.array([(24, 158), (38, 153), (47, 163), (50, 186), (54, 206)], float), 16)
    return [(right, np.linspace(7.0, 3.6, 16)), (left, np.linspace(7.5, 3.4, 16))]


def _abdomen(habitus: Habitus, grid: Grid, cavity: Floats) -> Floats:
    """The abdomen below the domes of the diaphragm, as far as it reaches into the cavity."""
    right, left = (np.asarray(habitus.dome_top(grid.x, side), np.float32) for side in (-1, 1))
    t = np.clip(grid.x / 44 + 0.5, 0, 1)
    edge = right + (left - right) * t * t * (3 - 2 * t)
    return np.asarray(cavity * root(np.clip((grid.y - edge) / 18, 0, 1)), np.float32)


def _airways(habitus: Habitus, grid: Grid) -> Floats:
    """Trachea and main bronchi."""
    gas = np.zeros(grid.shape, np.float32)
    courses = (
        (np.array([(0, -40), (0, 20), (-1, 80), (-3, 136)], float), 8.5, 8.5),
        (np.array([(-3, 131), (-14, 148), (-30, 166), (-40, 184)], float), 7.5, 5.5),
        (np.array([(-3, 131), (12, 146), (34, 160), (48, 172)], float), 7.0, 5.0),
    )
    for knots, start, end in courses:
        window, thick = tube(grid, smooth_curve(knots, 24), np.linspace(start, end, 24))
        gas[window] = np.maximum(gas[window], thick)
    return gas


def _bowel_gas(habitus: Habitus, grid: Grid) -> Floats:
    """The stomach's bubble under the left dome and a loop of colon."""
    x, below, wide, high = habitus.stomach
    top = float(habitus.dome_top(np.array([x]), 1)[0])
    gas = ellipsoid(grid, (x, top + below + high * 0.6), (wide, high, 30), 8)
    gas *= np.clip((top + below + high - grid.y) / 1.5, 0, 1)  # the fluid's level
    if habitus.bowel > 0.65:
        loop = np.zeros(grid.shape, np.float32)
        for dx, dy, radius in ((52, 48, 12), (45, 62, 14), (33, 73, 13), (18, 79, 11), (4, 80, 9)):
            pouch = ellipsoid(grid, (x + dx, top + dy + 30 * habitus.bowel), (radius, 0.8 * radius, 7), -2 * dy)
            loop = np.maximum(loop, pouch)
        gas += loop
    return gas


def _body(habitus: Habitus, grid: Grid) -> Floats:
    """Trunk, shoulders, neck, arms and breasts inside the skin."""
    x, y = grid.x, grid.y
    distance = np.abs(x)
    wall = habitus.fat + 4
    half = through(
        (0, 205),
        (110, 200),
        (150, 0.45 * 200 + 0.55 * (habitus.half_width + wall)),
        (185, habitus.half_width + wall + 3),
        (300, habitus.half_width + wall),
        (420, habitus.half_width + wall + 6),
    )(y)
    depth = through((-60, 60), (0, 74), (50, 88), (90, 96), (150, habitus.depth), (420, habitus.depth * 1.06))(y)
    slope = np.float32(0.27 - 0.004 * habitus.shoulder)
    shoulder = np.float32(0.5 * habitus.shoulder - 8) + slope * np.maximum(distance - 52, 0)
    shoulder = shoulder + np.float32(0.004) * np.maximum(distance - 150, 0) ** 2
    under = root(np.clip((y - shoulder) / 46, 0, 1))
    trunk = 2 * depth * root(1 - (distance / half) ** np.float32(4)) ** np.float32(0.62) * under
    parts = trunk**5
    neck = 2 * root(1 - (x / np.float32(56 + 0.3 * habitus.fat)) ** 2) * np.float32(60)
    parts += (neck * np.clip((90 - y) / 70, 0, 1)) ** 5
    for side in (-1, 1):
        arm = smooth_curve(
            np.array(
                [(side * 188, 84 + habitus.shoulder), (side * 214, 130), (side * 244, 230), (side * 268, 330)], float
            ),
            14,
        )
        window, thick = tube(grid, arm, np.linspace(44, 40, 14) + 0.3 * habitus.fat - 6)
        parts[window] += thick**5
    body = parts ** np.float32(0.2)
    return np.asarray(body + _breasts(habitus, grid) + _pectorals(habitus, grid), np.float32)


def _breasts(habitus: Habitus, grid: Grid) -> Floats:
    """Pressed against the detector: flat in the middle, soft at the edge."""
    total = np.zeros(grid.shape, np.float32)
    if habitus.breast == 0:
        return total
    radius = 62 * (habitus.breast / 40) ** 0.5
    upper = np.clip((grid.y - 170) / 60, 0, 1)
    for side in (-1, 1):
        q = np.maximum(1 - ellipse_radius2(grid, (side * 92, 232 + 0.3 * habitus.breast), (radius, radius)), 0)
        total += np.float32(0.62 * habitus.breast) * q / (q + np.float32(0.25)) * upper
    return total


def _pectorals(habitus: Habitus, grid: Grid) -> Floats:
    """The fold of the great chest muscle, from the axilla inwards."""
    total = np.zeros(grid.shape, np.float32)
    for side in (-1, 1):
        q = 1 - ellipse_radius2(grid, (side * 105, 135), (75, 48), side * -28)
        total += np.float32(14 if habitus.sex == "M" else 9) * root(q)
    return total
