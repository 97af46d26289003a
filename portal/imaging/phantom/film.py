"""From line integrals to stored values: primary beam, scatter, quantum noise, the plate scanner's processing.

primary = exp(-integral)             Beer-Lambert at one effective energy, unit exposure
signal  = primary + scatter          scatter: a broad low-pass of the primary
log     = -ln(noisy signal)          the detector's response, so that bone is bright
value   = tone(log - share * broad(log))    range compression and a tone curve, as in a CR scanner
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from portal.imaging.phantom.canvas import Floats, Grid, Mask, broad_blur, through

MU_WATER = 0.0195  # 1/mm at about 65 keV
LUNG_AIR = 0.74  # share of air in inflated lung
BITS = 12
FULL = 2**BITS - 1
LOWEST, HIGHEST = 12, FULL - 12


# The scanner's tone curve: processed log signal to brightness, with a toe for air and a shoulder for bone
_TONE = through(
    (-0.6, 0.0), (0.0, 0.03), (0.5, 0.085), (1.0, 0.185), (1.5, 0.30), (1.9, 0.42), (2.3, 0.59),
    (2.7, 0.745), (3.1, 0.86), (3.5, 0.928), (4.0, 0.968), (5.0, 0.99), (6.5, 1.0), steps=4096, low=-1.0, high=8.0,
)  # fmt: skip


@dataclass(frozen=True)
class FilmProcessing:
    """How a film was exposed and processed.

    `quanta` is the mean number of quanta per mm2 in the unattenuated beam over 1000, `scatter` the scatter
    per primary, `blur_mm` the detector's blur, `dark` and `contrast` place the tone curve. `borders` are the
    blackened margins (left, top, right, bottom) as shares of the film, rotated by `turn` radians.
    """

    quanta: float
    scatter: float
    blur_mm: float
    dark: float
    contrast: float
    borders: tuple[float, float, float, float]
    turn: float
    marker: tuple[float, float, float]


def draw_exposure(rng: np.random.Generator) -> FilmProcessing:
    """Return a usual exposure, drawn at random."""
    edges = rng.uniform(0.004, 0.035, 4) * (rng.random(4) < 0.3)
    return FilmProcessing(
        quanta=float(rng.uniform(30, 60)),
        scatter=float(rng.uniform(0.35, 0.55)),
        blur_mm=float(rng.uniform(0.20, 0.28)),
        dark=float(rng.uniform(-0.06, 0.06)),
        contrast=float(rng.uniform(0.92, 1.08)),
        borders=(float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3])),
        turn=float(rng.normal(0, 0.006)),
        marker=(float(rng.uniform(0.90, 0.945)), float(rng.uniform(0.05, 0.11)), float(rng.normal(0, 0.05))),
    )


def expose(integral: Floats, lead: Floats, grid: Grid, exposure: FilmProcessing, rng: np.random.Generator) -> Floats:
    """Noisy logarithmic signal (h, w) float32: about 0 in open air, 4 behind the spine.

    `lead` (h, w) is the share of the beam that passes the marker on the detector, 1 outside the marker.
    """
    primary = np.exp(-integral)
    scatter = broad_blur(primary, 28 / grid.pixel_mm)
    signal = (primary + np.float32(exposure.scatter) * scatter) * lead + np.float32(0.002)
    quanta = np.float32(exposure.quanta * 1000 * grid.pixel_mm**2)
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    signal += np.sqrt(signal / quanta) * noise
    sigma = exposure.blur_mm / grid.pixel_mm
    if sigma > 0.3:
        signal = ndimage.gaussian_filter(signal, sigma, truncate=3.0)
    return np.asarray(-np.log(np.maximum(signal, np.float32(1e-4))), np.float32)


def process(log: Floats, grid: Grid, exposure: FilmProcessing) -> Floats:
    """Values in 0..1, larger for more attenuation: range compression, a little sharpening, tone curve."""
    broad = broad_blur(log, 22 / grid.pixel_mm)
    flat = log - np.float32(0.16) * (broad - np.float32(2.4))
    fine = flat - broad_blur(flat, 1.6 / grid.pixel_mm, factor=2)
    flat += np.float32(0.35) * fine
    placed = (flat - np.float32(exposure.dark + 2.2)) * np.float32(exposure.contrast) + np.float32(2.2)
    return _TONE(np.asarray(placed, np.float32))


def quantise(values: Floats, exposure: FilmProcessing) -> NDArray[np.uint16]:
    """12-bit values uint16 (h, w), 0 in the blackened margins and from `LOWEST` to `HIGHEST` elsewhere."""
    stored: NDArray[np.uint16] = np.rint(LOWEST + values * np.float32(HIGHEST - LOWEST)).astype(np.uint16)
    np.clip(stored, LOWEST, HIGHEST, out=stored)
    stored[_shuttered(stored.shape, exposure)] = 0
    return stored


def _shuttered(shape: tuple[int, ...], exposure: FilmProcessing) -> Mask:
    h, w = shape
    across = (np.arange(w) + 0.5)[None, :] / w
    down = (np.arange(h) + 0.5)[:, None] / h
    lean = exposure.turn
    left, top, right, bottom = exposure.borders
    hidden = np.zeros((h, w), bool)
    if left:
        hidden |= across + lean * down < left
    if top:
        hidden |= down - lean * across < top
    if right:
        hidden |= across + lean * down > 1 - right
    if bottom:
        hidden |= down - lean * across > 1 - bottom
    return hidden


def add_marker(lead: Floats, size: int, exposure: FilmProcessing) -> None:
    """Put a lead letter L in the upper corner on the patient's left of `lead`, a film of `size` pixels a side."""
    cx, cy, turn = exposure.marker
    reach = 0.04
    rows = slice(max(int((cy - reach) * size), 0), int((cy + reach) * size) + 1)
    columns = slice(int((cx - reach) * size), min(int((cx + reach) * size) + 1, size))
    x = ((np.arange(columns.start, columns.stop) + 0.5) / size - cx)[None, :]
    y = ((np.arange(rows.start, rows.stop) + 0.5) / size - cy)[:, None]
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    upright = np.minimum(0.0042 - np.abs(u + 0.012), 0.021 - np.abs(v))
    foot = np.minimum(0.0155 - np.abs(u), 0.0042 - np.abs(v - 0.0168))
    letter = np.clip(np.maximum(upright, foot) * size / 1.2 + 0.5, 0, 1)
    lead[rows, columns] *= (1 - 0.985 * letter).astype(np.float32)
