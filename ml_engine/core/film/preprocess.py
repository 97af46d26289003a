"""A decoded film becomes the square input of the engine."""

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
from ml_engine.core.film.gray_scale import FilmArray as FilmArray
from ml_engine.core.film.gray_scale import intensities as intensities
from ml_engine.core.geometry import resize_affine
from ml_engine.core.stored_rows import LEVELS


@dataclass(frozen=True)
class Prepared:
    """``image`` float32 (S, S) in [0, 1], in the levels that are stored where films are kept in 16 bits; ``box`` the
    part of it that shows the film: top, left, bottom, right in pixels, the rest is padding; ``original_from_input``
    float64 (2, 3) in pixels."""

    image: Tensor
    box: tuple[int, int, int, int]
    original_from_input: Tensor


def prepare(film: FilmArray, config: PipelineConfig, *, size: int | None = None) -> Prepared:
    """The film on the gray scale and at the side of the config; ``size`` replaces its side.

    Resized bilinearly with antialiasing (our choice; the paper states 224 pixels and no method). With ``config.clahe``
    the contrast is equalised at that side, inside the film's box only. Raises UnsupportedImage for a film too thin to
    fill one pixel and for values that are not finite.
    """
    return resized(intensities(film, config), config, pixel_aspect=film.pixel_aspect, size=size)


def resized(
    values: NDArray[np.float32], config: PipelineConfig, *, pixel_aspect: float = 1.0, size: int | None = None
) -> Prepared:
    """As `prepare`, for a film whose values float32 (H, W) in [0, 1] come from `intensities` already."""
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
        image = _in_levels(_equalised(_resize(gray, side, side), config), config)
        return Prepared(image, (0, 0, side, side), affine)
    rows = round(height / float(affine[1, 1]))
    columns = round(width / float(affine[0, 0]))
    if rows < 1 or columns < 1:
        raise UnsupportedImage(f"A film of {width} x {height} pixels is too thin for a square input.")
    top, left = (side - rows) // 2, (side - columns) // 2
    image = torch.zeros(side, side)
    image[top : top + rows, left : left + columns] = _equalised(_resize(gray, rows, columns), config)
    affine = _affine_of_box(height, width, top=top, left=left, rows=rows, columns=columns)
    return Prepared(_in_levels(image, config), (top, left, top + rows, left + columns), affine)


def _in_levels(image: Tensor, config: PipelineConfig) -> Tensor:
    return (image * LEVELS).round() / LEVELS if config.keeps_half else image


def _equalised(film: Tensor, config: PipelineConfig) -> Tensor:
    """The resized film (h, w), its contrast equalised with ``config.clahe``."""
    if not config.clahe:
        return film
    return torch.from_numpy(clahe(film.numpy(), clip=config.clahe_clip, tiles=config.clahe_tiles))


def _affine_of_box(height: int, width: int, *, top: int, left: int, rows: int, columns: int) -> Tensor:
    """The exact original_from_input of a film resized to whole pixels and placed at (top, left)."""
    step_x, step_y = width / columns, height / rows
    return torch.tensor([[step_x, 0, -left * step_x], [0, step_y, -top * step_y]], dtype=torch.float64)


def _resize(gray: Tensor, rows: int, columns: int) -> Tensor:
    resized = F.interpolate(
        gray[None, None], size=(rows, columns), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0].clamp(0, 1)


def valid_area(boxes: NDArray[np.int64], size: int) -> Tensor:
    """True where an input shows its film, bool (N, 1, size, size), from boxes (N, 4): top, left, bottom, right."""
    box = torch.as_tensor(boxes).reshape(-1, 4, 1, 1)
    y, x = torch.arange(size).view(1, -1, 1), torch.arange(size).view(1, 1, -1)
    inside = (y >= box[:, 0]) & (y < box[:, 2]) & (x >= box[:, 1]) & (x < box[:, 3])
    return inside[:, None]
