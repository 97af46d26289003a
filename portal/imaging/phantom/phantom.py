"""A phantom film and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from portal.imaging.film import PixelFacts, Window
from portal.imaging.phantom.anatomy import Habitus, draw_habitus, draw_pose, landmarks
from portal.imaging.phantom.canvas import FIELD_MM, Floats, Grid, make_grid, near_curve, transform, upsample2
from portal.imaging.phantom.film import (
    BITS,
    FULL,
    LUNG_AIR,
    MU_WATER,
    FilmProcessing,
    add_marker,
    draw_exposure,
    expose,
    process,
    quantise,
)
from portal.imaging.phantom.findings import FINDINGS, Diseased, draw_finding
from portal.imaging.phantom.organs import draw_organs
from portal.imaging.phantom.skeleton import draw_skeleton
from portal.imaging.phantom.vessels import draw_vessels, grow

PHOTOMETRICS = ("MONOCHROME1", "MONOCHROME2")
_BLOCK = 16


@dataclass(frozen=True)
class Phantom:
    """A film and the truth about it.

    `pixels` (H, W) uint16 holds 12-bit stored values, small values bright if `photometric` is MONOCHROME1;
    `facts` are those of its header. `mask` (H, W) bool outlines the finding (None without one) and
    `boxes` (x, y, width, height) in pixels enclose it. `landmarks` are in image pixels, `atlas_landmarks`
    the same points in atlas mm; `pose` (2, 3) float64 is `image_from_atlas`.
    """

    pixels: NDArray[np.uint16]
    facts: PixelFacts
    mask: NDArray[np.bool_] | None
    boxes: tuple[tuple[float, float, float, float], ...]
    landmarks: dict[str, tuple[float, float]]
    atlas_landmarks: dict[str, tuple[float, float]]
    pose: NDArray[np.float64]
    finding: str | None
    sex: str
    age: int
    ctr: float
    view_position: str = "PA"

    @property
    def photometric(self) -> str:
        """MONOCHROME1 or MONOCHROME2."""
        return self.facts.photometric


def make_phantom(
    *,
    seed: int,
    finding: str | None = None,
    size: int = 1024,
    photometric: str = "MONOCHROME2",
    person_seed: int | None = None,
) -> Phantom:
    """Return a frontal film of `size` x `size` pixels, identical for identical arguments.

    Without `finding`, the same seed gives the same film of the same person in health. `person_seed` (default:
    `seed`) determines the person, so that a person can have several films. Raises ValueError for an unknown
    finding or photometric interpretation and for a size under 64.
    """
    if photometric not in PHOTOMETRICS:
        raise ValueError(f"photometric is {photometric!r}; expected one of {', '.join(PHOTOMETRICS)}")
    if finding is not None and finding not in FINDINGS:
        raise ValueError(f"finding is {finding!r}; expected None or one of {', '.join(FINDINGS)}")
    if size < 64:
        raise ValueError(f"size is {size}; expected 64 or more")
    person = seed if person_seed is None else person_seed
    habitus = draw_habitus(_stream(person, 1))
    exposure = draw_exposure(_stream(seed, 2))
    pose = draw_pose(_stream(seed, 3), size)
    padded = -(-size // _BLOCK) * _BLOCK
    grid, half = make_grid(pose, padded, 1), make_grid(pose, padded, 2)
    organs = draw_organs(habitus, half)
    nothing = np.zeros(half.shape, np.float32)
    if finding is None:
        state = Diseased(
            habitus=habitus,
            organs=organs,
            extra=nothing,
            markings=nothing + 1,
            line=None,
            mask=np.zeros(half.shape, bool),
        )
    else:
        state = draw_finding(finding, habitus, organs, half, _stream(seed, 4))
    integral = _integral(habitus, state, grid, half, person)
    lead = np.ones(grid.shape, np.float32)
    add_marker(lead, size, exposure)
    log = expose(integral, lead, grid, exposure, _stream(seed, 5))
    values = process(log, grid, exposure)[:size, :size]
    stored = quantise(values, exposure)
    mask = np.repeat(np.repeat(state.mask, 2, 0), 2, 1)[:size, :size]
    points = landmarks(state.habitus)
    return Phantom(
        pixels=_stored(stored, photometric),
        facts=_facts(size, photometric, exposure),
        mask=None if finding is None else mask,
        boxes=() if finding is None else _boxes(mask),
        landmarks={k: _tuple(transform(pose, np.array([v]))[0]) for k, v in points.items()},
        atlas_landmarks=points,
        pose=pose,
        finding=finding,
        sex=habitus.sex,
        age=habitus.age,
        ctr=state.habitus.ctr,
    )


def _stream(seed: int, number: int) -> np.random.Generator:
    """An independent generator for each step, so that adding a step does not change the others."""
    return np.random.Generator(np.random.PCG64([number, seed]))


def _integral(habitus: Habitus, state: Diseased, grid: Grid, half: Grid, person: int) -> Floats:
    """Attenuation along the beam, (h, w): soft tissue at half resolution, vessels and bones at full."""
    organs = state.organs
    mottle = _stream(person, 8).standard_normal(half.shape, dtype=np.float32)
    mottle = ndimage.gaussian_filter(mottle, 0.9 / half.pixel_mm + 0.3) * np.float32(2.4)
    water = organs.body - LUNG_AIR * organs.lung - organs.gas + state.extra
    water = water + np.float32(0.010) * organs.lung * mottle
    integral = np.float32(MU_WATER) * upsample2(np.maximum(water, 0))
    places, radii = grow(habitus, _stream(person, 6))
    vessels = draw_vessels(grid, half, places, radii)
    aerated = np.clip(organs.lung / np.float32(40), 0, 1)
    integral += np.float32(MU_WATER * 0.95) * vessels * upsample2(state.markings * aerated)
    integral += draw_skeleton(habitus, grid, _stream(person, 7))
    if state.line is not None:
        band = near_curve(grid, state.line, 1.0 + grid.pixel_mm)
        integral[band.window] += np.float32(0.11) * np.exp(-((band.distance / np.float32(0.55)) ** 2))
    return integral


def _stored(stored: NDArray[np.uint16], photometric: str) -> NDArray[np.uint16]:
    return (FULL - stored).astype(np.uint16) if photometric == "MONOCHROME1" else stored


def _facts(size: int, photometric: str, exposure: FilmProcessing) -> PixelFacts:
    black = FULL if photometric == "MONOCHROME1" else 0
    return PixelFacts(
        rows=size,
        columns=size,
        bits_stored=BITS,
        offset=0,
        photometric=photometric,
        windows=(Window(2048.0, 4096.0, "NORMAL"),),
        padding=(black, black) if any(exposure.borders) else None,
        spacing_mm=(FIELD_MM / size, FIELD_MM / size),
        spacing_plane="detector",
    )


def _boxes(mask: NDArray[np.bool_]) -> tuple[tuple[float, float, float, float], ...]:
    """The smallest box around the mask; no box for an empty mask."""
    if not mask.any():
        return ()
    rows, columns = np.nonzero(mask)
    x, y = columns.min(), rows.min()
    return ((float(x), float(y), float(columns.max() + 1 - x), float(rows.max() + 1 - y)),)


def _tuple(point: NDArray[np.float64]) -> tuple[float, float]:
    return float(point[0]), float(point[1])
