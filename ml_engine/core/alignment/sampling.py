"""Differentiable warps in normalised coordinates, for the fit and the search.

A theta (B, 2, 3) maps [-1, 1] of the canonical image to [-1, 1] of the film, with ``align_corners=False``. `sample`
and `sample_valid` also accept perspectives (B, 3, 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample(films: Tensor, theta: Tensor, *, mode: str = "bilinear") -> Tensor:
    """The films (B, C, S, S) resampled to the canonical frame, same shape, 0 outside the film."""
    shape = list(films.shape)
    plane = F.affine_grid(theta[:, :2].to(films), shape, align_corners=False)
    if theta.shape[1] == 2:
        grid = plane
    else:
        depth = F.affine_grid(theta[:, [2, 2]].to(films), shape, align_corners=False)
        grid = plane / depth
    return F.grid_sample(films, grid, mode=mode, padding_mode="zeros", align_corners=False)


def sample_valid(valid: Tensor, theta: Tensor) -> Tensor:
    """1.0 where the aligned film has pixels, otherwise 0.0; float (B, 1, S, S), without gradient."""
    return (sample(valid.detach(), theta.detach()) > 0.999).to(valid.dtype)


def unaligned(count: int) -> Tensor:
    """The identity for each of ``count`` films, float32 (count, 2, 3)."""
    return torch.eye(2, 3).repeat(count, 1, 1)


def join(first: Tensor, second: Tensor) -> Tensor:
    """The theta (..., 2, 3) that applies ``second`` and then ``first``."""
    linear = first[..., :2] @ second[..., :2]
    shift = first[..., :2] @ second[..., 2:] + first[..., 2:]
    return torch.cat([linear, shift], -1)


def point_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean squared distance (B,) between the images of the points (±0.7, ±0.7) under two thetas (B, 2, 3)."""
    corners = torch.tensor([[-0.7, -0.7, 0.7, 0.7], [-0.7, 0.7, -0.7, 0.7], [1.0, 1.0, 1.0, 1.0]]).to(a)
    return (((a - b) @ corners) ** 2).sum(1).mean(1)
