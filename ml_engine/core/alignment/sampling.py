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
    theta = theta.to(films)
    height, width = films.shape[-2:]
    if theta.requires_grad:
        grid = torch.stack([_places(row, height, width) for row in theta[:, :2].unbind(1)], -1)
    else:
        grid = theta.new_empty(len(theta), height, width, 2)
        for axis in (0, 1):
            _places(theta[:, axis], height, width, into=grid[..., axis])
    if theta.shape[1] == 3:
        grid = grid / _places(theta[:, 2], height, width)[..., None]
    return F.grid_sample(films, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _places(row: Tensor, height: int, width: int, *, into: Tensor | None = None) -> Tensor:
    """A row (B, 3) of the theta times the centres of all pixels, (B, height, width): as `F.affine_grid`, which takes
    ten times as long on a processor."""
    across = row[:, :1] * _centres(width).to(row) + row[:, 2:]
    down = row[:, 1:2] * _centres(height).to(row)
    return torch.add(across[:, None, :], down[:, :, None], out=into)


def _centres(side: int) -> Tensor:
    """The centres of the pixels of an axis in [-1, 1], float64 (side,)."""
    return (torch.arange(side, dtype=torch.float64) * 2 + 1) / side - 1


def sample_valid(valid: Tensor, theta: Tensor) -> Tensor:
    """1.0 where the aligned film has pixels, otherwise 0.0; float (B, 1, S, S), without gradient."""
    return _valid(sample(valid.detach(), theta.detach())).to(valid.dtype)


def sample_both(films: Tensor, valid: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """`sample` of the films (B, 1, S, S) and `sample_valid`, in two thirds of their time together; the films as they
    are where nothing moves."""
    if is_unaligned(theta):
        return films, _valid(valid.detach()).to(valid.dtype)
    aligned, covered = sample(torch.cat([films, valid], 1), theta).split(1, 1)
    return aligned, _valid(covered).to(valid.dtype)


def _valid(covered: Tensor) -> Tensor:
    return covered > 0.999


def is_unaligned(theta: Tensor) -> bool:
    """Whether every theta (B, 2, 3) is the identity, so that a film is its own resampling."""
    return theta.shape[1:] == (2, 3) and bool((theta == torch.eye(2, 3).to(theta)).all())


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
