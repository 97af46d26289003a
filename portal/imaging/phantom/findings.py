"""Findings: the tissue or air that a disease adds to or removes from a chest, and its exact outline.

A finding changes the half-resolution organs before they are summed, so that it obeys the same physics as
everything else, and returns a bool mask of the outline that a perfect clinician would draw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from portal.imaging.phantom.anatomy import Habitus, with_ctr
from portal.imaging.phantom.canvas import Floats, Grid, Mask, Points, Reals, clouds, ellipse_radius2, root
from portal.imaging.phantom.organs import Organs, draw_organs, heart_silhouette

FINDINGS = ("nodule", "consolidation", "effusion", "pneumothorax", "cardiomegaly")


@dataclass(frozen=True)
class Diseased:
    """A person and their organs with a finding.

    `extra` is mm of water to add, `markings` the share of the vessels that remains visible (1 all, 0 none, below 0 air
    in their place), `line` a curve (n, 2) of visceral pleura or None; `mask` bool outlines the finding. All (h, w).
    """

    habitus: Habitus
    organs: Organs
    extra: Floats
    markings: Floats
    line: Points | None
    mask: Mask


def draw_finding(finding: str, habitus: Habitus, organs: Organs, grid: Grid, rng: np.random.Generator) -> Diseased:
    """The chest with one of `FINDINGS`; ValueError for another name."""
    if finding == "cardiomegaly":
        return _cardiomegaly(habitus, organs, grid, rng)
    draw = {
        "nodule": _nodule,
        "consolidation": _consolidation,
        "effusion": _effusion,
        "pneumothorax": _pneumothorax,
    }.get(finding)
    if draw is None:
        raise ValueError(f"finding is {finding!r}; expected None or one of {', '.join(FINDINGS)}")
    return draw(habitus, organs, grid, rng)


def _spot(habitus: Habitus, rng: np.random.Generator, low: float, high: float) -> tuple[float, float]:
    """A point in the open part of a lung, between two heights as shares of the lung's height."""
    side = -1 if rng.random() < 0.5 else 1
    y = float(rng.uniform(70 + low * 190, 70 + high * 190))
    wall = habitus.chest.at(y)
    inner = 62 if side < 0 or y < 190 else min(0.72 * wall, 95)
    return side * float(rng.uniform(inner, max(wall - 24, inner + 5))), y


def _nodule(habitus: Habitus, organs: Organs, grid: Grid, rng: np.random.Generator) -> Diseased:
    x, y = _spot(habitus, rng, 0.12, 0.85)
    radius = float(rng.uniform(8, 30)) / 2
    squash, turn = float(rng.uniform(0.82, 1.0)), float(rng.uniform(0, 180))
    q = nodule_radius2(grid, (x, y), radius, squash=squash, turn=turn, phases=rng.uniform(0, 6.28, 3))
    extra = np.minimum(2 * np.float32(radius) * root(1 - q), np.float32(40)) * np.float32(0.95)
    mask = q < 1
    mask.flat[np.argmin(q)] = True  # on a coarse grid the nodule may lie between the pixel centres
    return Diseased(
        habitus=habitus, organs=organs, extra=extra, markings=np.ones(grid.shape, np.float32), line=None, mask=mask
    )


def nodule_radius2(
    grid: Grid, centre: tuple[float, float], radius: float, *, squash: float, turn: float, phases: Points
) -> Floats:
    """Squared radius (1 on the outline) of a nodule: an ellipse of `radius` mm, flattened by `squash` and rotated by
    `turn` degrees, with an outline modulated by three waves of these `phases` (3,)."""
    q = ellipse_radius2(grid, centre, (radius, radius * squash), turn)
    angle = np.arctan2(grid.y - np.float32(centre[1]), grid.x - np.float32(centre[0]))
    wobble = sum(0.035 * np.sin((k + 2) * angle + p) for k, p in enumerate(phases))
    return np.asarray(q * np.asarray(1 + wobble, np.float32), np.float32)


def _consolidation(habitus: Habitus, organs: Organs, grid: Grid, rng: np.random.Generator) -> Diseased:
    """Fluid in the air spaces: fluffy edges, vessels drowned, the bronchi left as dark branches."""
    x, y = _spot(habitus, rng, 0.25, 0.9)
    wide, high = float(rng.uniform(34, 52)), float(rng.uniform(28, 46))
    q = np.sqrt(ellipse_radius2(grid, (x, y), (wide, high), float(rng.uniform(-40, 40))))
    rough = clouds(rng, grid.shape, 11, 5)
    filled = np.clip((1.2 - q + 0.28 * rough) / 0.55, 0, 1)
    filled = np.asarray(filled * filled * (3 - 2 * filled), np.float32)
    depth = np.minimum(organs.lung * np.float32(0.75), np.float32(80))
    extra = filled * depth * np.float32(rng.uniform(0.6, 0.85)) * (1 + 0.12 * rough)
    markings = np.asarray(1 - np.float32(1.7) * filled, np.float32)
    mask = (filled > 0.35) & (organs.lung > 12)
    return Diseased(
        habitus=habitus, organs=organs, extra=np.asarray(extra, np.float32), markings=markings, line=None, mask=mask
    )


def _effusion(habitus: Habitus, organs: Organs, grid: Grid, rng: np.random.Generator) -> Diseased:
    side = -1 if rng.random() < 0.5 else 1
    _, top, _, drop = habitus.dome(side)
    level = top - float(rng.uniform(45, 100))  # mm: moderate to large
    wall = np.maximum(habitus.chest(grid.y), np.float32(1))
    lateral = np.clip(grid.x * side / wall, 0, 1)
    surface = np.float32(level + 22) - np.float32(rng.uniform(45, 62)) * lateral**4
    under = fluid_depth(grid.y, surface, over_mm=60) * (grid.x * side > 0)
    fluid = organs.lung * np.minimum(under * np.float32(1.15), 1)
    mask = (fluid > 10) & (under > 0.15)
    below = (grid.x * side > 0) & (np.abs(grid.x) < wall) & (grid.y > surface) & (organs.cavity > 30)
    mask |= below & (grid.y < np.float32(top + drop)) & (organs.lung > 4)
    changed = replace(organs, lung=organs.lung - fluid)
    return Diseased(
        habitus=habitus,
        organs=changed,
        extra=np.zeros(grid.shape, np.float32),
        markings=1 - under,
        line=None,
        mask=mask,
    )


def fluid_depth(y: Floats, surface: Reals, *, over_mm: float) -> Floats:
    """Share of the beam's path in fluid: 0 at the `surface`, 1 from `over_mm` below it; y and surface in mm."""
    return root(np.clip((y - surface) / np.float32(over_mm), 0, 1))


def pleura_gap(height: Points, gap: float) -> Points:
    """Distance of the visceral pleura from the chest wall, in the unit of `gap`, by height above the base of the lung
    (0 to 1); at 1 it is `gap`."""
    return np.asarray(gap * (0.25 + 0.75 * height**0.8), np.float64)


def _pneumothorax(habitus: Habitus, organs: Organs, grid: Grid, rng: np.random.Generator) -> Diseased:
    side = -1 if rng.random() < 0.5 else 1
    gap, apex = float(rng.uniform(16, 38)), float(rng.uniform(16, 34))
    y = np.linspace(46 + apex, 262, 60)
    wall = np.array([habitus.chest.at(float(v)) for v in y])
    share = np.clip((262 - y) / (262 - 46), 0, 1)
    edge = (wall - 1.5) - pleura_gap(share, gap)
    rise = np.clip((y - 46 - apex) / 45, 0, 1)
    edge = 40 + (edge - 40) * np.sqrt(1 - (1 - rise) ** 2)
    line = np.column_stack([side * edge, y])
    limit = np.interp(grid.y, y, edge, left=0.0).astype(np.float32)
    free = (grid.x * side > limit) & (organs.cavity > 0) & (grid.y < 262) & (organs.lung > 3)
    free &= grid.x * side > 16
    blurred = ndimage.gaussian_filter(free.astype(np.float32), 0.6)
    # no lung remains: its soft-tissue share (1 - air) is removed from the beam
    extra = -organs.lung * np.float32(0.24) * blurred
    return Diseased(habitus=habitus, organs=organs, extra=extra, markings=1 - blurred, line=line, mask=free)


def _cardiomegaly(habitus: Habitus, organs: Organs, grid: Grid, rng: np.random.Generator) -> Diseased:
    large = with_ctr(habitus, float(rng.uniform(0.57, 0.68)))
    changed = draw_organs(large, grid)
    in_chest = np.abs(grid.x) < habitus.chest(grid.y)
    above = np.where(grid.x < 0, _dome_y(habitus, grid, -1), _dome_y(habitus, grid, 1))
    mask = heart_silhouette(large, grid) & ~heart_silhouette(habitus, grid) & in_chest & (grid.y < above + 6)
    return Diseased(
        habitus=large,
        organs=changed,
        extra=np.zeros(grid.shape, np.float32),
        markings=np.ones(grid.shape, np.float32),
        line=None,
        mask=mask,
    )


def _dome_y(habitus: Habitus, grid: Grid, side: int) -> Floats:
    return np.asarray(habitus.dome_top(grid.x, side), np.float32)
