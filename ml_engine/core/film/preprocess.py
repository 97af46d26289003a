"""From a decoded film to the square input of the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import UnsupportedImage
from ml_engine.core.film.clahe import clahe
from ml_engine.core.geometry import resize_affine


@dataclass(frozen=True)
class FilmArray:
    """A film as its reader hands it over.

    ``values`` (H, W) float32, linear, larger = brighter; ``bits`` stored per value; ``ends`` the least and the
    greatest value that its header allows, 0 and 255 of a plain 8-bit file; ``display`` (H, W)
    float32 in [0, 1] after the header's VOI LUT or window, None without one; ``padding`` (H, W) bool, True
    where the header says that there is no film; ``pixel_aspect`` a pixel's height over its width; ``spacing_mm``
    (between rows = y, between columns = x), None where the header has none.
    """

    values: NDArray[np.float32]
    bits: int
    ends: tuple[float, float]
    display: NDArray[np.float32] | None
    padding: NDArray[np.bool_]
    pixel_aspect: float = 1.0
    spacing_mm: tuple[float, float] | None = None


@dataclass(frozen=True)
class Prepared:
    """``image`` (S, S) float32 in [0, 1]; ``box`` the part of it that shows film: top, left, bottom, right
    in pixels, the rest is padding; ``original_from_input`` (2, 3) float64 in pixels."""

    image: Tensor
    box: tuple[int, int, int, int]
    original_from_input: Tensor


def prepare(film: FilmArray, config: PipelineConfig, *, size: int | None = None) -> Prepared:
    """The film on the gray scale and at the side that the config asks for (``size`` overrides its side).

    Bilinear with antialiasing [o]; CLAHE, where asked for, at that side and inside the film's box only. Raises
    UnsupportedImage for a film too thin to fill one pixel and for values that are no finite numbers.
    """
    return resized(intensities(film, config), config, pixel_aspect=film.pixel_aspect, size=size)


def resized(
    values: NDArray[np.float32], config: PipelineConfig, *, pixel_aspect: float = 1.0, size: int | None = None
) -> Prepared:
    """`prepare` of a film whose values (H, W) are `intensities` already."""
    side = size or config.size
    gray = torch.from_numpy(np.ascontiguousarray(values))
    height, width = gray.shape
    keep_aspect = config.resize == "pad"
    affine = resize_affine(
        original_size=(height, width),
        resized_size=(side, side),
        keep_aspect=keep_aspect,
        pixel_aspect=pixel_aspect,
    )
    if not keep_aspect:
        return Prepared(_equalised(_resize(gray, side, side), config), (0, 0, side, side), affine)
    rows = round(height / float(affine[1, 1]))
    columns = round(width / float(affine[0, 0]))
    if rows < 1 or columns < 1:
        raise UnsupportedImage(f"A film of {width} x {height} pixels is too thin for a square input.")
    top, left = (side - rows) // 2, (side - columns) // 2
    image = torch.zeros(side, side)
    image[top : top + rows, left : left + columns] = _equalised(_resize(gray, rows, columns), config)
    affine = _affine_of_box(height, width, top=top, left=left, rows=rows, columns=columns)
    return Prepared(image, (top, left, top + rows, left + columns), affine)


def _equalised(film: Tensor, config: PipelineConfig) -> Tensor:
    """The resized film (h, w), its contrast equalised where the config asks for it."""
    if not config.clahe:
        return film
    return torch.from_numpy(clahe(film.numpy(), clip=config.clahe_clip, tiles=config.clahe_tiles))


def _affine_of_box(height: int, width: int, *, top: int, left: int, rows: int, columns: int) -> Tensor:
    """original_from_input for a film resized to whole pixels and set down at (top, left), exactly."""
    step_x, step_y = width / columns, height / rows
    return torch.tensor([[step_x, 0, -left * step_x], [0, step_y, -top * step_y]], dtype=torch.float64)


def _resize(gray: Tensor, rows: int, columns: int) -> Tensor:
    resized = F.interpolate(
        gray[None, None], size=(rows, columns), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0].clamp(0, 1)


def intensities(film: FilmArray, config: PipelineConfig) -> NDArray[np.float32]:
    """The film's values in [0, 1], (H, W) float32, by ``config.intensity``; padding is 0.

    A film of one value is all 0 where the scale comes from the film itself. What stands in the padding does not
    matter; elsewhere a value that is no finite number raises UnsupportedImage.
    """
    window = film.display if config.intensity == "window" else None
    _require_finite(film.values if window is None else window, film.padding)
    if window is not None:
        scaled = np.asarray(window, dtype=np.float32)
    else:
        low, high = _ends(film, config)
        scaled = (film.values - np.float32(low)) / np.float32(max(high - low, 1e-12))
    scaled = np.clip(scaled, 0, 1)
    return np.where(film.padding, np.float32(0), scaled) if film.padding.any() else scaled


def _require_finite(values: NDArray[np.float32], padding: NDArray[np.bool_]) -> None:
    wrong = ~np.isfinite(values) & ~padding
    if wrong.any():
        count = int(wrong.sum())
        raise UnsupportedImage(
            f"{count} of the film's {wrong.size} pixels {'is' if count == 1 else 'are'} no finite number (NaN or "
            "infinite): export the film again."
        )


def _ends(film: FilmArray, config: PipelineConfig) -> tuple[float, float]:
    """The values that become 0 and 1."""
    seen = film.values[~film.padding] if film.padding.any() else film.values
    if seen.size == 0:
        return 0.0, 1.0
    if config.intensity == "window":
        low, high = np.percentile(seen, [config.low_percentile, config.high_percentile])
        return float(low), float(high)
    if film.bits == 8:
        return film.ends
    return float(seen.min()), float(seen.max())


def valid_area(boxes: NDArray[np.int64], size: int) -> Tensor:
    """Where inputs show film, bool (N, 1, size, size), from boxes (N, 4): top, left, bottom, right."""
    box = torch.as_tensor(boxes).reshape(-1, 4, 1, 1)
    y, x = torch.arange(size).view(1, -1, 1), torch.arange(size).view(1, 1, -1)
    inside = (y >= box[:, 0]) & (y < box[:, 2]) & (x >= box[:, 1]) & (x < box[:, 3])
    return inside[:, None]
