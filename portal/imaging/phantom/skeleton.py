"""Bones at the film's full resolution: the attenuation that each adds beyond that of soft tissue.

The rib cage is an elliptic barrel that a beam crosses twice. At each crossing, the angle around the barrel (0 at
the spine, pi at the sternum) and the height determine the distance to the centre line of the nearest rib. All ribs
are therefore drawn at once, and their crowding at the flanks follows from the geometry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from portal.imaging.phantom.anatomy import Habitus, clavicle_knots, vertebra_pitch, vertebra_position
from portal.imaging.phantom.canvas import Band, Floats, Grid, Points, near_curve, root, smooth_curve
from portal.imaging.phantom.organs import CAGE_DEPTH

CORTICAL_PER_MM = 0.056  # attenuation beyond soft tissue of cortical bone at about 65 keV, 1/mm
SPONGY_PER_MM = 0.0175


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
    columns = np.flatnonzero((np.abs(grid.x) < habitus.half_width).any(axis=0))
    if rows.size == 0 or columns.size == 0:
        return
    part = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    barrel = _barrel(habitus, grid.x[part], grid.y[part])
    widths = (6.3 + 0.35 * rng.standard_normal(13)).astype(np.float32)
    for back in (True, False):
        total[part] += _half_cage(habitus, barrel, widths, back=back)


@dataclass(frozen=True)
class _Barrel:
    """Where beams cross the cage, all (h, w): atlas `x`, `y`; half width `wide`; `rho` = |x| over the half width and
    its `cosine`; depth of cortex (two layers) and of spongy bone along the beam on one crossing; `flank`, how far the
    beam runs along the cage instead of through it, 0 to 1."""

    x: Floats
    y: Floats
    wide: Floats
    rho: Floats
    cosine: Floats
    cortex: Floats
    spongy: Floats
    flank: Floats


def _barrel(habitus: Habitus, x: Floats, y: Floats) -> _Barrel:
    wide = np.maximum(habitus.cage(y), np.float32(1))
    rho = np.minimum(np.abs(x) / wide, np.float32(1))
    cosine = root(1 - rho * rho)
    outer = np.float32(CAGE_DEPTH) * wide * cosine
    layers = [outer, *(_shell_depth(wide, rho, inside) for inside in (0.9, 6.1, 7.0))]
    flank = np.clip(1 - wide * (1 - rho) / 13, 0, 1)
    flank = np.float32(0.85) * flank * flank * (3 - 2 * flank)
    cortex = layers[0] - layers[1] + layers[2] - layers[3]
    return _Barrel(
        x=x, y=y, wide=wide, rho=rho, cosine=cosine, cortex=cortex, spongy=layers[1] - layers[2], flank=flank
    )


def _half_cage(habitus: Habitus, barrel: _Barrel, widths: Floats, *, back: bool) -> Floats:
    """The ribs' back half (spine to flank) or front half (flank to cartilage)."""
    rho, cosine, wide = barrel.rho, barrel.cosine, barrel.wide
    turn = (1 - cosine) / 2 if back else (1 + cosine) / 2
    steep = np.float32(0.5) + turn
    turn = turn * (np.float32(0.5) + np.float32(0.5) * turn)
    # centre line of rib j (0 for the first): first + (pitch + lower j) j + (drop + fall j) turn + sweep
    first, pitch, lower = np.float32(46.0), np.float32(18.6 + habitus.rib_pitch), np.float32(0.42)
    drop, fall = np.float32(56 + habitus.rib_drop), np.float32(7.5)
    sweep = -20 * rho * (1 - rho) if back else 30 * (1 - rho)
    b = pitch + fall * turn
    index = (root(b * b + 4 * lower * (barrel.y - first - drop * turn - sweep)) - b) / (2 * lower)
    rib = np.clip(np.rint(index), 0, 11)
    slope = (drop + fall * rib) * rho / 2 * steep
    if not back:
        slope = slope - 30 * cosine
    speed = wide * np.sqrt(cosine * cosine + np.float32(CAGE_DEPTH**2) * rho * rho)
    across = (index - rib) * (b + 2 * lower * rib) / np.sqrt(1 + (slope / speed) ** 2)
    half = np.take(widths, rib.astype(np.int32))
    if not back:
        half = half * np.float32(1.12)
    outline = root(1 - (across / half) ** 2)
    hollow = root(1 - (across / (half - np.float32(1.1))) ** 2)
    # at the flank a beam runs along the barrel through several ribs: use their mean
    outline += barrel.flank * (np.float32(0.34) - outline)
    hollow += barrel.flank * (np.float32(0.28) - hollow)
    cortex = barrel.cortex * outline + barrel.spongy * (outline - hollow)
    bone = np.float32(CORTICAL_PER_MM) * cortex + np.float32(SPONGY_PER_MM) * barrel.spongy * hollow
    return np.asarray(bone * _rib_extent(rib, barrel.x, rho, back=back), np.float32)


def _shell_depth(wide: Floats, rho: Floats, inside: float) -> Floats:
    """z of the surface that lies `inside` mm within the barrel's outer surface."""
    shrunk = np.maximum(1 - np.float32(inside) / wide, np.float32(0.01))
    return np.float32(CAGE_DEPTH) * wide * root(shrunk * shrunk - rho * rho)


def _rib_extent(rib: Floats, x: Floats, rho: Floats, *, back: bool) -> Floats:
    """Share of bone in a rib: 1, fading to 0 towards the cartilage in front."""
    if back:
        head = np.clip((np.abs(x) - 15) / (6 + 8 * (rib < 1)), 0, 1)
        limit = np.array([9.0] * 10 + [0.97, 0.8], np.float32)
        end = np.clip((np.take(limit, rib.astype(np.int32)) - rho) / 0.06, 0, 1)
        return np.asarray(head * end, np.float32)
    start = np.array([0.42, 0.40, 0.42, 0.45, 0.49, 0.54, 0.62, 0.72, 0.82, 0.9, 2.0, 2.0], np.float32)
    bony = np.clip((rho - np.take(start, rib.astype(np.int32))) / 0.07, 0, 1)
    return np.asarray(np.float32(0.52) * bony, np.float32)


def _hollow_tube(band: Band, radius: Floats, wall: Floats) -> Floats:
    """Attenuation of a bone with a cortex of `wall` mm around spongy bone."""
    d2 = band.distance * band.distance
    outer = 2 * root(radius * radius - d2)
    inner = 2 * root(np.maximum(radius - wall, 0) ** 2 - d2)
    return np.float32(CORTICAL_PER_MM) * (outer - inner) + np.float32(SPONGY_PER_MM) * inner


def _add_bone(grid: Grid, total: Floats, knots: Points, count: int = 24) -> None:
    """A long bone along `knots` (n, 4): x, y, radius, thickness of the cortex, all in mm."""
    curve = smooth_curve(knots, count)
    radii, walls = np.maximum(curve[:, 2], 0.3), np.maximum(curve[:, 3], 0.2)
    band = near_curve(grid, curve[:, :2], float(radii.max()) + grid.pixel_mm)
    at = np.linspace(0, 1, count)
    radius, wall = (np.interp(band.along, at, v).astype(np.float32) for v in (radii, walls))
    total[band.window] += _hollow_tube(band, radius, wall)


def _add_clavicle(habitus: Habitus, grid: Grid, side: int, total: Floats) -> None:
    knots = clavicle_knots(habitus, side)
    radii, walls = [8.8, 6.4, 5.2, 5.0, 5.8, 6.4], [0.8, 1.1, 1.5, 1.5, 1.1, 0.8]
    _add_bone(grid, total, np.column_stack([knots, radii, walls]), 36)


# Courses of the parts of a scapula and the upper arm for side +1: x, y, radius, cortex in mm
_SCAPULA = (
    ((160, 84, 3.0, 0.6), (157, 92, 8.0, 0.9), (151, 106, 6.0, 1.2), (145, 130, 4.4, 1.5), (138, 165, 3.6, 1.4),
     (130, 196, 2.8, 1.2), (124, 212, 1.2, 0.6)),
    ((120, 60, 0.8, 0.4), (113, 90, 1.5, 0.8), (110, 130, 1.6, 0.9), (113, 170, 1.8, 0.9), (124, 212, 1.4, 0.6)),
    ((111, 92, 0.8, 0.4), (126, 80, 2.4, 0.8), (144, 66, 3.6, 0.9), (164, 50, 5.0, 0.9), (180, 44, 6.4, 0.9),
     (190, 50, 3.0, 0.7)),
    ((119, 60, 0.8, 0.4), (130, 63, 1.3, 0.8), (142, 74, 2.0, 0.8), (152, 84, 3.0, 0.7)),
    ((152, 82, 4.0, 0.8), (144, 73, 5.2, 0.9), (136, 74, 4.6, 0.9), (131, 79, 2.4, 0.6)),
)  # fmt: skip
_HUMERUS = (
    (186, 82, 20.5, 0.6), (191, 96, 20, 0.7), (199, 116, 15.5, 1.2), (210, 140, 12.5, 2.2), (226, 180, 11.5, 3.4),
    (258, 290, 11, 3.6),
)  # fmt: skip


def _add_scapula(habitus: Habitus, grid: Grid, side: int, total: Floats) -> None:
    """Borders, spine with acromion and coracoid of the scapula, and the humerus."""
    wide, up = habitus.half_width / 147, habitus.shoulder * 0.5
    for course in (*_SCAPULA, _HUMERUS):
        knots = np.array(course, float)
        knots[:, 0] *= side * wide
        knots[:, 1] += up
        _add_bone(grid, total, knots)


def _add_spine(habitus: Habitus, grid: Grid, total: Floats) -> None:
    """Vertebral bodies with endplates, pedicles, spinous and transverse processes."""
    ends = np.array([(habitus.spine.at(y), y) for y in (-40.0, 420.0)])
    window = grid.window(ends, 45)
    x, y = grid.x[window], grid.y[window]
    if x.size == 0:
        return
    x = x - habitus.spine(y)
    nearest, v = vertebra_position(y)
    pitch = vertebra_pitch(nearest)
    half = (14 + 0.55 * np.clip(nearest, -2, 14)).astype(np.float32)
    height = pitch * np.float32(0.40)
    total[window] += _bodies(x, v, half, height) + _arches(x, v)


def _bodies(x: Floats, v: Floats, half: Floats, height: Floats) -> Floats:
    """Bodies: waisted boxes of spongy bone with a rim."""
    waist = half * (0.90 + 0.10 * (v / height) ** 2)
    q = np.maximum(np.abs(x) / waist, np.abs(v) / height)
    inside = np.clip((1 - q) * 12, 0, 1)
    side_rim = np.exp(-(((np.abs(x) - waist + 0.8) / 1.0) ** 2)) * (np.abs(v) < height)
    end_rim = np.exp(-(((np.abs(v) - height + 0.8) / 1.0) ** 2)) * (np.abs(x) < waist)
    return np.asarray(0.11 * inside + 0.14 * np.maximum(side_rim, end_rim), np.float32)


def _arches(x: Floats, v: Floats) -> Floats:
    """Pedicles as upright rings, the spinous process as a drop, the transverse processes as stubs."""
    pedicle = np.sqrt(((np.abs(x) - 10.5) / 3.6) ** 2 + ((v + 2.0) / 5.2) ** 2)
    ring = np.exp(-(((pedicle - 0.85) / 0.22) ** 2))
    spinous = np.sqrt((x / 3.4) ** 2 + ((v - 6.0) / 6.0) ** 2)
    drop = np.exp(-(((spinous - 0.85) / 0.25) ** 2)) + 0.5 * (spinous < 0.85)
    stub = np.exp(-(((v + 3.0 + 0.18 * (np.abs(x) - 14)) / 3.6) ** 4))
    stub = stub * np.clip((np.abs(x) - 12) / 3, 0, 1) * np.clip((31 - np.abs(x)) / 3, 0, 1)
    return np.asarray(0.11 * ring + 0.12 * drop + 0.09 * stub, np.float32)
