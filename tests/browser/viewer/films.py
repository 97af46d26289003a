"""Small films that differ in one header fact each."""

from __future__ import annotations

from typing import Any

import numpy as np

from portal.imaging.film import Film, Lut, PixelFacts, Window

ROWS, COLUMNS = 90, 121  # odd, so that row padding in a texture would show


def make_film(*, bits: int = 12, offset: int = 0, seed: int = 3, **facts: Any) -> Film:
    """A ramp with noise over most of the range of `bits`."""
    ramp = np.linspace(0.02, 0.9, ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    noise = np.random.default_rng(seed).normal(0, 0.02, ramp.shape)
    stored = np.rint(np.clip(ramp + noise, 0, 1) * (2**bits - 1)).astype(np.uint16)
    plain: dict[str, Any] = {"photometric": "MONOCHROME2"}
    return Film(
        stored,
        PixelFacts(rows=ROWS, columns=COLUMNS, bits_stored=bits, offset=offset, **{**plain, **facts}),
    )


def flat_film(value: int = 0, *, rows: int = ROWS, columns: int = COLUMNS) -> Film:
    """One grey everywhere: `value` of 255."""
    stored = np.full((rows, columns), value, dtype=np.uint16)
    window = (Window(127.5, 255.0),)
    facts = PixelFacts(
        rows=rows,
        columns=columns,
        bits_stored=8,
        offset=0,
        photometric="MONOCHROME2",
        windows=window,
        voi_function="LINEAR_EXACT",
    )
    return Film(stored, facts)


def _padded() -> Film:
    film = make_film(padding=(0, 0))
    stored = film.stored.copy()
    stored[:20] = 0
    return Film(stored, film.facts)


def _falling_lut(bits: int, entries: int, first: int) -> Lut:
    most = 2**bits - 1
    curve = most * np.linspace(1, 0, entries) ** 1.7
    return Lut(first, bits, tuple(int(v) for v in np.rint(curve)))


WINDOW = (Window(1800.0, 1500.0),)
FILMS = {
    "percentiles": make_film(),
    "percentiles, padded": _padded(),
    "percentiles, MONOCHROME1": make_film(photometric="MONOCHROME1"),
    "16 bit": make_film(bits=16),
    "8 bit": make_film(bits=8),
    "linear": make_film(windows=WINDOW),
    "linear, width 1": make_film(windows=(Window(1800.0, 1.0),)),
    "linear exact": make_film(windows=(Window(1800.0, 40.0),), voi_function="LINEAR_EXACT"),
    "sigmoid": make_film(windows=WINDOW, voi_function="SIGMOID"),
    "MONOCHROME1": make_film(windows=WINDOW, photometric="MONOCHROME1"),
    "inverse": make_film(windows=WINDOW, presentation_inverse=True),
    "MONOCHROME1, inverse": make_film(windows=WINDOW, photometric="MONOCHROME1", presentation_inverse=True),
    "signed": make_film(offset=2048, windows=(Window(-100.0, 900.0),)),
    "rescaled": make_film(slope=0.5, intercept=-300.0, windows=(Window(400.0, 700.0),)),
    "modality LUT": make_film(modality_lut=_falling_lut(10, 3000, 500), windows=(Window(500.0, 900.0),)),
    "modality LUT, signed": make_film(offset=2048, modality_lut=_falling_lut(10, 3000, 500)),
    "VOI LUT": make_film(voi_luts=(_falling_lut(10, 2500, 800),), windows=WINDOW),
    "VOI LUT, MONOCHROME1": make_film(voi_luts=(_falling_lut(16, 2500, 800),), photometric="MONOCHROME1"),
}
