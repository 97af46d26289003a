"""Harmless changes of normal films: a detector should flag the changed films no more often than it promises.

A film is float32 (H, W) in [0, 1] at its original size, larger = brighter. The parameters of a change are drawn first
and applied second; the ranges are ours. None of the changes is a finding, and none imitates a real film closely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[float, float]

GAMMA = (1.15, 1.4)  # or its reciprocal
OFFSET = (-0.06, 0.06)  # gray values
DEGREES = (4.0, 6.0)  # in either direction
BORDER = (0.05, 0.12)  # of the film's height or width
DEVICES = ("pacemaker", "electrodes")
METAL = (0.9, 1.0)  # gray value of a device
SCATTER = (0.25, 0.45)  # share of the film replaced by its blurred copy
SCATTER_WIDTH = 0.06  # standard deviation of that blur, of the film's width
WIDENING = (0.03, 0.07)  # of half the film's width, at its lateral edges
WIDENED_FROM = 0.5  # of half the film's width: the film is not widened nearer to its middle
BLURRED_SIDE = 96  # pixels: the blurred copy is computed at this width


def change(film: Floats, kind: str, rng: np.random.Generator, *, pixel_aspect: float = 1.0) -> Floats:
    """The film (H, W) changed by ``kind``, one of `KINDS`, with parameters drawn from ``rng``: of the same shape, in
    [0, 1]. ``pixel_aspect`` is a pixel's height divided by its width."""
    return apply(film, draw(kind, rng), pixel_aspect=pixel_aspect)


# the parameters


@dataclass(frozen=True)
class ReExposure:
    """gray ** ``gamma`` + ``offset``."""

    gamma: float
    offset: float


@dataclass(frozen=True)
class Rotation:
    """By ``degrees`` about the film's centre, clockwise if positive; what comes from outside the film is black."""

    degrees: float


@dataclass(frozen=True)
class Collimation:
    """Black borders, each a share of the film's height or width; 0 for a side without one."""

    top: float
    bottom: float
    left: float
    right: float


@dataclass(frozen=True)
class Line:
    """The points within ``half`` of a line through ``points`` (x, y), or of a single point; each y is a share of the
    film's height, downwards, and x and ``half`` of its width."""

    points: tuple[Point, ...]
    half: float


@dataclass(frozen=True)
class Device:
    """``lines`` drawn with the gray value ``level`` where the film is darker; ``name`` is one of `DEVICES`."""

    name: str
    lines: tuple[Line, ...]
    level: float


@dataclass(frozen=True)
class LargerHabitus:
    """``scatter`` is the share of the film replaced by its blurred copy, ``widening`` the outward shift of the film at
    its lateral edges, as a share of half its width."""

    scatter: float
    widening: float


Change = ReExposure | Rotation | Collimation | Device | LargerHabitus


def draw(kind: str, rng: np.random.Generator) -> Change:
    """The parameters of a change of this kind."""
    return _DRAWN[kind](rng)


def _exposure(rng: np.random.Generator) -> ReExposure:
    gamma = float(rng.uniform(*GAMMA))
    return ReExposure(1 / gamma if rng.random() < 0.5 else gamma, float(rng.uniform(*OFFSET)))


def _rotation(rng: np.random.Generator) -> Rotation:
    return Rotation(float(rng.uniform(*DEGREES)) * (1 if rng.random() < 0.5 else -1))


def _collimation(rng: np.random.Generator) -> Collimation:
    """On one to three sides."""
    sides = rng.permutation(4)[: rng.integers(1, 4)]
    shares = rng.uniform(*BORDER, size=4)
    top, bottom, left, right = (float(shares[side]) if side in sides else 0.0 for side in range(4))
    return Collimation(top, bottom, left, right)


def _device(rng: np.random.Generator) -> Device:
    level = float(rng.uniform(*METAL))
    return _pacemaker(rng, level) if rng.random() < 0.5 else _electrodes(rng, level)


def _pacemaker(rng: np.random.Generator, level: float) -> Device:
    """A generator below a clavicle, with a lead that ends in the heart's shadow."""
    x, y, half = rng.uniform(0.2, 0.28), rng.uniform(0.24, 0.32), rng.uniform(0.015, 0.025)
    ends = [[x, y], [0.47, y - 0.06], [0.5, 0.5], [rng.uniform(0.53, 0.58), rng.uniform(0.64, 0.7)]]
    t = np.linspace(0, 1, 24)
    bezier = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)  # cubic
    generator, lead = np.array([[x - half, y], [x + half, y]]), bezier @ np.array(ends)
    is_mirrored = bool(rng.random() < 0.5)
    lines = (
        Line(_points(generator, is_mirrored), float(rng.uniform(0.033, 0.04))),
        Line(_points(lead, is_mirrored), float(rng.uniform(0.002, 0.003))),
    )
    return Device("pacemaker", lines, level)


def _points(points: NDArray[np.float64], is_mirrored: bool) -> tuple[Point, ...]:
    return tuple((1 - float(x) if is_mirrored else float(x), float(y)) for x, y in points)


def _electrodes(rng: np.random.Generator, level: float) -> Device:
    """Three to five ECG electrodes on the chest, each with a wire that leaves the film at its nearer lateral edge."""
    lines = []
    for _ in range(rng.integers(3, 6)):
        x, y, sag = rng.uniform(0.15, 0.85), rng.uniform(0.2, 0.75), rng.uniform(0.02, 0.12)
        t = np.linspace(0, 1, 16)
        wire = np.stack([x + ((x >= 0.5) - x) * t, y + sag * np.sin(np.pi * t / 2)], axis=1)
        lines.append(Line(_points(wire[:1], False), float(rng.uniform(0.009, 0.014))))
        lines.append(Line(_points(wire, False), float(rng.uniform(0.0012, 0.002))))
    return Device("electrodes", tuple(lines), level)


def _habitus(rng: np.random.Generator) -> LargerHabitus:
    return LargerHabitus(float(rng.uniform(*SCATTER)), float(rng.uniform(*WIDENING)))


_DRAWN: dict[str, Callable[[np.random.Generator], Change]] = {
    "re_exposed": _exposure,
    "rotated": _rotation,
    "collimated": _collimation,
    "with_device": _device,
    "larger_habitus": _habitus,
}
KINDS = tuple(_DRAWN)


# their application


def apply(film: Floats, drawn: Change, *, pixel_aspect: float = 1.0) -> Floats:
    """The changed film; see `change`."""
    if isinstance(drawn, ReExposure):
        changed = film ** np.float32(drawn.gamma) + np.float32(drawn.offset)
    elif isinstance(drawn, Rotation):
        changed = _rotated(film, drawn, pixel_aspect)
    elif isinstance(drawn, Collimation):
        changed = _collimated(film, drawn)
    elif isinstance(drawn, Device):
        changed = _with_device(film, drawn, pixel_aspect)
    else:
        changed = _larger(film, drawn)
    return np.clip(np.asarray(changed, np.float32), 0, 1)


def moves(drawn: Change) -> bool:
    """Whether the change moves the film's pixels."""
    return isinstance(drawn, Rotation | LargerHabitus)


def _rotated(film: Floats, drawn: Rotation, pixel_aspect: float) -> Floats:
    """Bilinear. Rows are scaled by ``pixel_aspect``, so that the rotation is one in millimetres."""
    from scipy import ndimage

    angle = np.deg2rad(drawn.degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    # original_from_rotated for (row, column), with y downwards
    matrix = np.array([[cos, -sin / pixel_aspect], [sin * pixel_aspect, cos]])
    centre = (np.array(film.shape) - 1) / 2
    rotated = ndimage.affine_transform(film, matrix, offset=centre - matrix @ centre, order=1, mode="constant")
    return np.asarray(rotated, np.float32)


def _collimated(film: Floats, drawn: Collimation) -> Floats:
    height, width = film.shape
    changed = np.zeros_like(film)
    rows = slice(round(drawn.top * height), height - round(drawn.bottom * height))
    columns = slice(round(drawn.left * width), width - round(drawn.right * width))
    changed[rows, columns] = film[rows, columns]
    return changed


def _with_device(film: Floats, drawn: Device, pixel_aspect: float) -> Floats:
    """Each part of a line is drawn in its own window, with an edge one pixel wide."""
    height, width = film.shape
    changed, level = film.copy(), np.float32(drawn.level)
    for line in drawn.lines:
        points = [(x * width, y * height) for x, y in line.points]
        half = max(line.half * width, 0.5)
        for ends in zip(points, points[1:] or points, strict=False):
            _stroke(changed, ends, half, level, pixel_aspect)
    return changed


def _stroke(film: Floats, ends: Sequence[Point], half: float, level: np.float32, aspect: float) -> None:
    """Draw all points within ``half`` columns of the line between ``ends`` (x, y) in pixels, in place."""
    height, width = film.shape
    reach = half + 1
    rows = _span([y for _, y in ends], reach / aspect, height)
    columns = _span([x for x, _ in ends], reach, width)
    y = (np.arange(rows.start, rows.stop) + 0.5)[:, None] * aspect
    x = (np.arange(columns.start, columns.stop) + 0.5)[None, :]
    (x0, y0), (x1, y1) = ends[0], ends[-1]
    along_x, along_y = x1 - x0, (y1 - y0) * aspect
    length2 = max(along_x**2 + along_y**2, 1e-12)
    share = np.clip(((x - x0) * along_x + (y - y0 * aspect) * along_y) / length2, 0, 1)
    distance = np.hypot(x - x0 - share * along_x, y - y0 * aspect - share * along_y)
    cover = np.clip(half + 0.5 - distance, 0, 1).astype(np.float32)
    window = film[rows, columns]
    np.maximum(window, window + cover * (level - window), out=window)


def _span(values: list[float], reach: float, length: int) -> slice:
    first, last = int(np.floor(min(values) - reach)), int(np.ceil(max(values) + reach))
    return slice(min(max(first, 0), length), min(max(last, 0), length))


def _larger(film: Floats, drawn: LargerHabitus) -> Floats:
    """Mixed with its blurred copy, which fills the lungs and lowers their contrast, and wider at its lateral edges."""
    scattered = (1 - np.float32(drawn.scatter)) * film + np.float32(drawn.scatter) * _blurred(film)
    return _widened(scattered, drawn.widening)


def _blurred(film: Floats) -> Floats:
    """The film blurred by a Gaussian of `SCATTER_WIDTH`, computed on a reduced copy."""
    import torch
    import torch.nn.functional as F
    from scipy import ndimage

    height, width = film.shape
    columns = min(BLURRED_SIDE, width)
    rows = max(1, round(columns * height / width))
    whole = torch.from_numpy(film)[None, None]
    small = F.interpolate(whole, size=(rows, columns), mode="bilinear", align_corners=False, antialias=True)
    soft = torch.from_numpy(ndimage.gaussian_filter(small[0, 0].numpy(), SCATTER_WIDTH * columns, mode="nearest"))
    blurred = F.interpolate(soft[None, None], size=(height, width), mode="bilinear", align_corners=False)
    return np.asarray(blurred[0, 0].numpy(), np.float32)


def _widened(film: Floats, widening: float) -> Floats:
    """The columns beyond `WIDENED_FROM` of half the width, moved outwards: not at all there, and by ``widening`` at the
    film's edge; linear between columns."""
    width = film.shape[1]
    u = (np.arange(width) + 0.5) / width * 2 - 1
    outer = np.clip((np.abs(u) - WIDENED_FROM) / (1 - WIDENED_FROM), 0, 1)
    source = u - np.sign(u) * widening * outer**2 * (3 - 2 * outer)
    column = np.clip((source + 1) / 2 * width - 0.5, 0, width - 1)
    left = np.minimum(column.astype(np.int64), max(width - 2, 0))
    right = np.minimum(left + 1, width - 1)
    share = (column - left).astype(np.float32)
    return np.asarray(film[:, left] * (1 - share) + film[:, right] * share, np.float32)
