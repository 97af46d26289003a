"""Smooth synthetic films whose true poses are known, and small settings to align them with."""

from __future__ import annotations

from typing import Any

import torch

from ml_engine.core.alignment.network import BOUNDS, residual_theta
from ml_engine.core.alignment_config import AlignmentConfig

SMALL: dict[str, Any] = {
    "method": "network+search",
    "perceptual": 0.0,
    "size": 64,
    "epochs": 2,
    "rounds": 2,
    "batch": 4,
    "search_steps": 4,
}


def small_config(**changes: Any) -> AlignmentConfig:
    return AlignmentConfig(**SMALL | changes)


def thorax(size: int) -> torch.Tensor:
    """Two dark ovals and a bright spot on a gray ground, float32 (1, 1, size, size)."""
    at = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(at, at, indexing="ij")

    def oval(cx: float, cy: float, rx: float, ry: float) -> torch.Tensor:
        return torch.exp(-((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) ** 2))

    lungs = 0.5 * oval(-0.38, -0.05, 0.26, 0.5) + 0.5 * oval(0.38, -0.1, 0.24, 0.46)
    picture = 0.7 - lungs + 0.2 * oval(0.1, 0.25, 0.2, 0.2) + 0.15 * oval(0, -0.7, 0.5, 0.08)
    return picture.clamp(0, 1)[None, None]


def poses(count: int, *, seed: int = 0, strength: float = 1.0) -> torch.Tensor:
    """Thetas (count, 2, 3) up to 8 % shift, 12 % scale, 8 degrees and a little shear, at strength 1."""
    unit = torch.rand(count, 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    unit[:, 3] = unit[:, 2]
    limits = torch.tensor([0.16, 0.16, 0.12, 0.12, 0.14, 0.04]) * strength
    names = ("shift", "shift", "log_scale", "log_scale", "angle", "shear")
    return residual_theta(unit * limits / torch.tensor([BOUNDS[name] for name in names]))


def films(count: int, *, size: int = 64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Films (count, 1, size, size), their valid areas, and the thetas atlas_from_film they were made with."""
    atlas_from_film = poses(count, seed=seed, strength=0.7)
    wide = torch.nn.functional.pad(thorax(size).expand(count, -1, -1, -1), [size] * 4, value=0.7)
    third = atlas_from_film / 3  # the frame is the middle third of the padded picture
    grid = torch.nn.functional.affine_grid(third, [count, 1, size, size], align_corners=False)
    shown = torch.nn.functional.grid_sample(wide, grid, align_corners=False)
    return shown, torch.ones(count, 1, size, size, dtype=torch.bool), atlas_from_film


def quiet(stage: str, done: int, total: int, message: str | None) -> None:
    """A progress callback that does nothing."""
