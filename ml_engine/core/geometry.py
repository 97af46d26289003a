"""Affine geometry in one convention, and the warps that use it.

A point is (x, y) in continuous pixels, y down; pixel (0, 0) covers [0, 1) x [0, 1) and its centre is
(0.5, 0.5). An affine is a float64 tensor (..., 2, 3) named ``target_from_source``: it maps a point of
the source to its point in the target. `torch.nn.functional.grid_sample` with ``align_corners=False``
uses the same convention, scaled to [-1, 1].
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def as_affine(affine: Tensor | np.ndarray) -> Tensor:
    """The affine as a float64 tensor (..., 2, 3). Raises ValueError for any other shape."""
    matrix = torch.as_tensor(affine, dtype=torch.float64)
    if matrix.ndim < 2 or tuple(matrix.shape[-2:]) != (2, 3):
        raise ValueError(f"an affine has the shape (..., 2, 3), not {tuple(matrix.shape)}")
    return matrix


def identity(count: int | None = None) -> Tensor:
    """The identity, float64 (2, 3), or (count, 2, 3)."""
    single = torch.eye(2, 3, dtype=torch.float64)
    return single if count is None else single.repeat(count, 1, 1)


def compose(a_from_b: Tensor | np.ndarray, b_from_c: Tensor | np.ndarray) -> Tensor:
    """a_from_c, float64 (..., 2, 3): ``b_from_c`` first, then ``a_from_b``. Leading axes broadcast.

    Written out term by term, so that an image's result does not depend on the rest of the batch.
    """
    outer, inner = as_affine(a_from_b), as_affine(b_from_c)
    linear = outer[..., :, 0, None] * inner[..., 0, None, :] + outer[..., :, 1, None] * inner[..., 1, None, :]
    shift = torch.zeros_like(linear)
    shift[..., 2] = outer[..., :, 2]
    return linear + shift


def invert(target_from_source: Tensor | np.ndarray) -> Tensor:
    """source_from_target, float64 (..., 2, 3). Raises ValueError where the determinant is 0."""
    m = as_affine(target_from_source)
    det = determinant(m)
    if bool((det == 0).any()):
        raise ValueError("an affine with determinant 0 has no inverse")
    a, b, c = m[..., 0, 0], m[..., 0, 1], m[..., 0, 2]
    d, e, f = m[..., 1, 0], m[..., 1, 1], m[..., 1, 2]
    rows = [torch.stack([e, -b, b * f - c * e], -1), torch.stack([-d, a, c * d - a * f], -1)]
    return torch.stack(rows, -2) / det[..., None, None]


def determinant(affine: Tensor | np.ndarray) -> Tensor:
    """The signed area factor, float64 (...)."""
    m = as_affine(affine)
    return m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]


def apply(target_from_source: Tensor | np.ndarray, points: Tensor | np.ndarray) -> Tensor:
    """The points (..., P, 2), each (x, y), mapped by the affine (..., 2, 3); float64 (..., P, 2)."""
    m = as_affine(target_from_source)
    xy = torch.as_tensor(points, dtype=torch.float64)
    x, y = xy[..., 0, None], xy[..., 1, None]
    return x * m[..., None, :, 0] + y * m[..., None, :, 1] + m[..., None, :, 2]


def scaling(factor_x: float, factor_y: float) -> Tensor:
    """The affine that multiplies x and y by a factor each, float64 (2, 3)."""
    return torch.tensor([[factor_x, 0.0, 0.0], [0.0, factor_y, 0.0]], dtype=torch.float64)


def resize_affine(
    *, original_size: Size, resized_size: Size, keep_aspect: bool = False, pixel_aspect: float = 1.0
) -> Tensor:
    """original_from_resized, float64 (2, 3), in pixels of both images.

    Sizes are (height, width). Without ``keep_aspect`` each axis is stretched on its own. With it both axes
    have the same scale and the rest is padding, half on each side; ``pixel_aspect``, the height of an
    original pixel divided by its width, is then corrected, so that resized pixels are square. Raises
    ValueError for a size below 1 or a pixel aspect that is not positive.
    """
    (height, width), (rows, columns) = original_size, resized_size
    if min(height, width, rows, columns) < 1 or pixel_aspect <= 0:
        raise ValueError("sizes must be at least 1 pixel and the pixel aspect above 0")
    if not keep_aspect:
        return scaling(width / columns, height / rows)
    step = max(width / columns, height * pixel_aspect / rows)  # side of a resized pixel in original pixel widths
    step_y = step / pixel_aspect
    pad_x, pad_y = (columns - width / step) / 2, (rows - height / step_y) / 2
    return torch.tensor([[step, 0, -pad_x * step], [0, step_y, -pad_y * step_y]], dtype=torch.float64)


def normalised_theta(input_from_output: Tensor | np.ndarray, in_size: Size, out_size: Size) -> Tensor:
    """The ``theta`` for `affine_grid(..., align_corners=False)` of this affine in pixels.

    Sizes are (height, width). Returns float64 (..., 2, 3), from [-1, 1] of the output to [-1, 1] of the input.
    """
    to_unit = torch.tensor([[2 / in_size[1], 0, -1], [0, 2 / in_size[0], -1]], dtype=torch.float64)
    to_pixels = torch.tensor(
        [[out_size[1] / 2, 0, out_size[1] / 2], [0, out_size[0] / 2, out_size[0] / 2]], dtype=torch.float64
    )
    return compose(to_unit, compose(input_from_output, to_pixels))


def pixel_affine(theta: Tensor, in_size: Size, out_size: Size) -> Tensor:
    """The inverse of `normalised_theta`: input_from_output in pixels, float64 (..., 2, 3)."""
    to_pixels = torch.tensor(
        [[in_size[1] / 2, 0, in_size[1] / 2], [0, in_size[0] / 2, in_size[0] / 2]], dtype=torch.float64
    )
    to_unit = torch.tensor([[2 / out_size[1], 0, -1], [0, 2 / out_size[0], -1]], dtype=torch.float64)
    return compose(to_pixels, compose(theta, to_unit))


def pixel_centres(size: Size) -> Tensor:
    """The centres of all pixels as (x, y), float64 (height * width, 2), row by row."""
    y = torch.arange(size[0], dtype=torch.float64) + 0.5
    x = torch.arange(size[1], dtype=torch.float64) + 0.5
    return torch.stack([x.repeat(size[0]), y.repeat_interleave(size[1])], -1)


def warp(
    images: Tensor, input_from_output: Tensor | np.ndarray, size: Size, *, mode: str = "bilinear"
) -> tuple[Tensor, Tensor]:
    """The images, each resampled through its own affine, and the area in which they are valid.

    ``images`` is float (N, C, H, W), ``input_from_output`` (N, 2, 3) in pixels, ``size`` the output's
    (height, width), ``mode`` one of bilinear, bicubic, nearest. Returns ``warped`` (N, C, h, w) in the
    images' dtype, 0 outside the input, and ``valid`` bool (N, 1, h, w), True where the pixel's centre lies
    inside the input. Within half a pixel of the input's edge the edge value is repeated. No antialiasing.
    Raises ValueError unless there is one affine per image.
    """
    affines = as_affine(input_from_output)
    if affines.ndim != 3 or affines.shape[0] != images.shape[0]:
        raise ValueError(f"{images.shape[0]} images need as many affines, not {tuple(affines.shape)}")
    height, width = int(images.shape[-2]), int(images.shape[-1])
    xy = apply(affines, pixel_centres(size)).reshape(-1, *size, 2)
    inside = (xy[..., 0] >= 0) & (xy[..., 0] <= width) & (xy[..., 1] >= 0) & (xy[..., 1] <= height)
    grid = (xy * torch.tensor([2 / width, 2 / height], dtype=torch.float64) - 1).to(images)
    warped = F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)
    valid = inside[:, None].to(images.device)
    return warped * valid, valid


def affine_from_points(target: Tensor | np.ndarray, source: Tensor | np.ndarray) -> Tensor:
    """target_from_source, float64 (2, 3), the least-squares fit to pairs of points (P, 2), P >= 3.

    Raises ValueError for fewer than three pairs or for source points on one line.
    """
    to_points = torch.as_tensor(target, dtype=torch.float64)
    from_points = torch.as_tensor(source, dtype=torch.float64)
    design = torch.cat([from_points, torch.ones(len(from_points), 1, dtype=torch.float64)], 1)
    if len(from_points) < 3 or int(torch.linalg.matrix_rank(design)) < 3:
        raise ValueError("an affine needs at least three pairs of points that are not on one line")
    solution: Tensor = torch.linalg.lstsq(design, to_points, driver="gelsd").solution
    return solution.T.contiguous()
