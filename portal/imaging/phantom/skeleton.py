"""Bones at the film's full resolution: how much each adds to the beam's attenuation, beyond soft tissue.

The rib cage is an elliptic barrel. A beam crosses it twice; where it does, the angle around the barrel (0 at
the spine, pi at the sternum) and the height say how far the nearest rib's centre line is, so all ribs are
drawn at once, with the tangential crowding at the flanks for free.
"""

from __future__ import annotations

import numpy as np

from portal.imaging.phantom.anatomy import Habitus, clavicle_knots
from portal.imaging.phantom.canvas import Band, Floats, Grid, Points, near_curve, root, smooth_curve
from portal.imaging.phantom.organs import CAGE_DEPTH

CORTICAL_PER_MM = 0.038  # attenuation beyond soft tissue of cortical bone at about 65 keV, 1/mm
SPONGY_PER_MM = 0.0105


def draw_skeleton(habitus: Habitus, grid: Grid, rng: np.random.Generator) -> Floats:
    """Attenuation of all bones (h, w), dimensionless."""
    total = np.zeros(grid.shape, np.float32)
    _add_ribs(habitus, grid, rng, total)
    _add_spine(habitus, grid, total)
    for side in (-1, 1):
        _add_clavicle(habitus, grid, side, total)
        _add_scapula(habitus, grid, side, total)
    total *= np.float32(habitus.bone)
    return total


def _add_ribs(habitus: Habitus, grid: Grid, rng: np.random.Generator, total: Floats) -> None:
    rows = np.flatnonzero(((grid.y > 25) & (grid.y < 385)).any(axis=1))
    if rows.size == 0:
        return
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    x, y = grid.x[part], grid.y[part]
    wide = np.maximum(habitus.cage(y), np.float32(1))
    rho = np.minimum(np.abs(x) / wide, np.float32(1))
    cosine = root(1 - rho * rho)
    deep = np.float32(CAGE_DEPTH) * wide
    outer = deep * cosine
    widths = 6.3 + 0.35 * rng.standard_normal(13)
    for back in (True, False):
        total[part] += _half_cage(habitus, x, y, rho, cosine, wide, outer, widths, back=back)


def _half_cage(
    habitus: Habitus,
    x: Floats,
    y: Floats,
    rho: Floats,
    cosine: Floats,
    wide: Floats,
    outer: Floats,
    widths: Points,
    *,
    back: bool,
) -> Floats:
    """The ribs' back half (spine to flank) or front half (flank to cartilage)."""
    turn = (1 - cosine) / 2 if back else (1 + cosine) / 2
    # centre line of rib j (0 for the first): first + (pitch + lower j) j + (drop + fall j) turn + sweep
    first, pitch, lower = np.float32(46.0), np.float32(18.6 + habitus.rib_pitch), np.float32(0.42)
    drop, fall = np.float32(46 + habitus.rib_drop), np.float32(6.5)
    sweep = -14 * rho * (1 - rho) if back else 34 * (1 - rho)
    b = pitch + fall * turn
    index = (root(b * b + 4 * lower * (y - first - drop * turn - sweep)) - b) / (2 * lower)
    rib = np.clip(np.rint(index), 0, 11)
    slope = (drop + fall * rib) * rho / 2
    if not back:
        slope = slope - 34 * cosine
    speed = wide * np.sqrt(cosine * cosine + np.float32(CAGE_DEPTH**2) * rho * rho)
    across = (index - rib) * (b + 2 * lower * rib) / np.sqrt(1 + (slope / speed) ** 2)
    half = np.take(widths.astype(np.float32), rib.astype(np.int32))
    if not back:
        half = half * np.float32(1.12)
    outline = root(1 - (across / half) ** 2)
    hollow = root(1 - (across / (half - np.float32(1.1))) ** 2)
    shells = [outer] + [_shell_depth(wide, rho, t) for t in (0.9, 6.1, 7.0)]
    cortex = (shells[0] - shells[1] + shells[2] - shells[3]) * outline
    middle = shells[1] - shells[2]
    cortex += middle * (outline - hollow)
    bone = np.float32(CORTICAL_PER_MM) * cortex + np.float32(SPONGY_PER_MM) * middle * hollow
    return np.asarray(bone * _rib_extent(rib, rho, back=back), np.float32)


def _shell_depth(wide: Floats, rho: Floats, inside: float) -> Floats:
    """z of the barrel's surface `inside` mm below its outer one."""
    shrunk = np.maximum(1 - np.float32(inside) / wide, np.float32(0.01))
    return np.float32(CAGE_DEPTH) * wide * root(shrunk * shrunk - rho * rho)


def _rib_extent(rib: Floats, rho: Floats, *, back: bool) -> Floats:
    """How much of a rib is there: 1, fading to 0 towards its cartilage in front."""
    if back:
        limit = np.array([9.0] * 10 + [0.97, 0.8], np.float32)
        return np.clip((np.take(limit, rib.astype(np.int32)) - rho) / 0.06, 0, 1)
    start = np.array([0.42, 0.40, 0.42, 0.45, 0.49, 0.54, 0.62, 0.72, 0.82, 0.9, 2.0, 2.0], np.float32)
    return np.float32(0.8) * np.clip((rho - np.take(start, rib.astype(np.int32))) / 0.07, 0, 1)


def _hollow_tube(band: Band, radius: Floats, wall: float) -> Floats:
    """Attenuation of a bone with a cortex of `wall` mm around spongy bone."""
    d2 = band.distance * band.distance
    outer = 2 * root(radius * radius - d2)
    inner = 2 * root((radius - np.float32(wall)) ** 2 - d2)
    return np.float32(CORTICAL_PER_MM) * (outer - inner) + np.float32(SPONGY_PER_MM) * inner


def _add_bone(grid: Grid, total: Floats, knots: Points, radii: Points, wall: float, count: int = 24) -> None:
    """A long bone along `knots` with a radius for each."""
    curve = smooth_curve(np.column_stack([knots, radii]), count)
    band = near_curve(grid, curve[:, :2], float(curve[:, 2].max()) + grid.pixel_mm)
    radius = np.interp(band.along, np.linspace(0, 1, count), curve[:, 2]).astype(np.float32)
    total[band.window] += _hollow_tube(band, radius, wall)


def _add_clavicle(habitus: Habitus, grid: Grid, side: int, total: Floats) -> None:
    knots = clavicle_knots(habitus, side)
    _add_bone(grid, total, knots, np.array([8.5, 6.6, 5.4, 5.4, 6.2, 7.0]), 1.3)


def _add_scapula(habitus: Habitus, grid: Grid, side: int, total: Floats) -> None:
    """Blade, its borders, the spine with the acromion, the socket and the head of the humerus."""
    wide, up = habitus.half_width / 147, habitus.shoulder * 0.5

    def place(*points: tuple[float, float]) -> Points:
        return np.array([(side * x * wide, y + up) for x, y in points])

    _add_bone(grid, total, place((150, 96), (146, 118), (141, 150), (133, 182), (126, 204)), np.array([6, 5, 4.2, 3.6, 2.2]), 1.3)
    _add_bone(grid, total, place((118, 58), (112, 90), (110, 130), (114, 170), (126, 204)), np.array([1.6, 1.6, 1.7, 1.8, 2.2]), 0.9)
    _add_bone(grid, total, place((112, 88), (130, 74), (150, 58), (172, 46), (184, 50)), np.array([2.5, 4, 5, 6, 5]), 1.0)
    _add_bone(grid, total, place((118, 58), (132, 62), (146, 74)), np.array([1.5, 1.7, 2.5]), 0.8, 12)
    _add_bone(grid, total, place((150, 80), (144, 76), (137, 80)), np.array([5.5, 6.0, 5.0]), 1.2, 8)
    _add_bone(grid, total, place((157, 82), (158, 94), (154, 108)), np.array([4, 5, 4]), 1.3, 8)
    _add_bone(grid, total, place((178, 78), (183, 92), (194, 130), (206, 190), (222, 290)), np.array([22, 22, 14, 12.5, 12]), 2.2)


def _add_spine(habitus: Habitus, grid: Grid, total: Floats) -> None:
    """Vertebral bodies with endplates, pedicles, spinous and transverse processes."""
    ends = np.array([(habitus.spine.at(y), y) for y in (-40.0, 420.0)])
    window = grid.window(ends, 45)
    x, y = grid.x[window], grid.y[window]
    if x.size == 0:
        return
    x = x - habitus.spine(y)
    n = np.where(y > 44, (np.sqrt(19.5**2 + 4 * 0.42 * np.maximum(y - 44, 0)) - 19.5) / 0.84, (y - 44) / 17.5)
    n = n.astype(np.float32)
    nearest = np.rint(n)
    pitch = np.where(nearest > 0, 19.5 + 0.84 * nearest, 17.5).astype(np.float32)
    v = (n - nearest) * pitch
    half = (14 + 0.55 * np.clip(nearest, -2, 14)).astype(np.float32)
    height = pitch * np.float32(0.40)
    total[window] += _bodies(x, v, half, height) + _arches(x, v, pitch)


def _bodies(x: Floats, v: Floats, half: Floats, height: Floats) -> Floats:
    """Bodies: waisted boxes of spongy bone with a rim."""
    waist = half * (0.90 + 0.10 * (v / height) ** 2)
    q = np.maximum(np.abs(x) / waist, np.abs(v) / height)
    inside = np.clip((1 - q) * 12, 0, 1)
    side_rim = np.exp(-(((np.abs(x) - waist + 0.8) / 1.0) ** 2)) * (np.abs(v) < height)
    end_rim = np.exp(-(((np.abs(v) - height + 0.8) / 1.0) ** 2)) * (np.abs(x) < waist)
    return np.asarray(0.20 * inside + 0.16 * np.maximum(side_rim, end_rim), np.float32)


def _arches(x: Floats, v: Floats, pitch: Floats) -> Floats:
    """Pedicles as upright rings, the spinous process as a drop, the transverse processes as stubs."""
    pedicle = np.sqrt(((np.abs(x) - 10.5) / 3.6) ** 2 + ((v + 2.0) / 5.2) ** 2)
    ring = np.exp(-(((pedicle - 0.85) / 0.22) ** 2))
    spinous = np.sqrt((x / 3.4) ** 2 + ((v - 6.0) / 6.0) ** 2)
    drop = np.exp(-(((spinous - 0.85) / 0.25) ** 2)) + 0.5 * (spinous < 0.85)
    stub = np.exp(-(((v + 3.0 + 0.18 * (np.abs(x) - 14)) / 3.6) ** 4))
    stub = stub * np.clip((np.abs(x) - 12) / 3, 0, 1) * np.clip((31 - np.abs(x)) / 3, 0, 1)
    return np.asarray(0.14 * ring + 0.17 * drop + 0.09 * stub, np.float32)
