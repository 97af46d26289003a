"""Differentiable warps in normalised coordinates, for the fit and the search.

A theta is (B, 2, 3): [-1, 1] of the canonical image to [-1, 1] of the film, ``align_corners=False``. `sample` and
`sample_valid` take a perspective (B, 3, 3) as well.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample(films: Tensor, theta: Tensor, *, mode: str = "bilinear") -> Tensor:
    """The films (B, C, S, S) seen in the canonical frame, black outside (B, C, S, S)."""
    shape = list(films.shape)
    plane = F.affine_grid(theta[:, :2].to(films), shape, align_corners=False)
    if theta.shape[1] == 2:
        grid = plane
    else:
        depth = F.affine_grid(theta[:, [2, 2]].to(films), shape, align_corners=False)
        grid = plane / depth
    return F.grid_sample(films, grid, mode=mode, padding_mode="zeros", align_corners=False)


def sample_valid(valid: Tensor, theta: Tensor) -> Tensor:
    """1.0 where the aligned film has pixels, else 0.0: float (B, 1, S, S), no gradient."""
    return (sample(valid.detach(), theta.detach()) > 0.999).to(valid.dtype)


def unaligned(count: int) -> Tensor:
    """The identity for each of ``count`` films, float32 (count, 2, 3)."""
    return torch.eye(2, 3).repeat(count, 1, 1)


def join(first: Tensor, second: Tensor) -> Tensor:
    """theta of ``second`` followed by ``first``: what was a film's frame becomes the next one's."""
    linear = first[..., :2] @ second[..., :2]
    shift = first[..., :2] @ second[..., 2:] + first[..., 2:]
    return torch.cat([linear, shift], -1)


def point_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance, (B,), of where two thetas take the square's points (+-0.7, +-0.7)."""
    corners = torch.tensor([[-0.7, -0.7, 0.7, 0.7], [-0.7, 0.7, -0.7, 0.7], [1.0, 1.0, 1.0, 1.0]]).to(a)
    return (((a - b) @ corners) ** 2).sum(1).mean(1)
