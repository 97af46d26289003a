"""A film as the engine's square input, without torch: for the pages on which a person aligns films by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import UnsupportedImage
from ml_engine.core.film.gray_scale import FilmArray, intensities


@dataclass(frozen=True)
class SquareFilm:
    """``image`` float32 (S, S) in [0, 1]; ``box`` the part of it that shows the film: top, left, bottom, right in
    pixels, the rest is padding and 0; ``original_from_input`` float64 (3, 3) in pixels, an affine."""

    image: NDArray[np.float32]
    box: tuple[int, int, int, int]
    original_from_input: NDArray[np.float64]


def square_film(film: FilmArray, config: PipelineConfig, *, side: int) -> SquareFilm:
    """The film on the gray scale of the config, its aspect kept by padding, as `preprocess.prepare` with resize=pad
    makes it (equal within 1e-4: Pillow and torch add in another order). Contrast is not equalised.

    Raises UnsupportedImage for a film too thin to fill one pixel and for values that are not finite.
    """
    gray = np.ascontiguousarray(intensities(film, config), dtype=np.float32)
    (top, left, bottom, right), affine = square_geometry(*gray.shape, side=side, pixel_aspect=film.pixel_aspect)
    small = Image.fromarray(gray).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    image = np.zeros((side, side), dtype=np.float32)
    image[top:bottom, left:right] = np.clip(np.asarray(small), 0, 1)
    return SquareFilm(image, (top, left, bottom, right), affine)


def square_geometry(
    height: int, width: int, *, side: int, pixel_aspect: float = 1.0
) -> tuple[tuple[int, int, int, int], NDArray[np.float64]]:
    """The box and original_from_input of `square_film`. Raises UnsupportedImage as it does."""
    step = max(width / side, height * pixel_aspect / side)  # side of an input pixel in original pixel widths
    rows, columns = round(height * pixel_aspect / step), round(width / step)
    if rows < 1 or columns < 1:
        raise UnsupportedImage(f"A film of {width} x {height} pixels is too thin for a square input.")
    top, left = (side - rows) // 2, (side - columns) // 2
    step_x, step_y = width / columns, height / rows
    affine = np.array([[step_x, 0, -left * step_x], [0, step_y, -top * step_y], [0, 0, 1]], dtype=np.float64)
    return (top, left, top + rows, left + columns), affine
