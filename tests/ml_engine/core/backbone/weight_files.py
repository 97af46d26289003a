"""Weight files for the tests."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from ml_engine.core.backbone import networks
from ml_engine.core.backbone.features import random_state


def own_file(path: Path, architecture: str = "resnet18", **changes: torch.Tensor) -> Path:
    save_file({name: t.contiguous() for name, t in (random_state(architecture, 3) | changes).items()}, path)
    return path


def numbered(name: str) -> dict[str, torch.Tensor]:
    """A network's tensors, quickly made; each filled with a number of its own."""
    shapes = networks.on_meta(name).state_dict()
    return {key: torch.full(value.shape, float(number)) for number, (key, value) in enumerate(shapes.items())}
