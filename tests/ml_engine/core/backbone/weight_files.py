"""Weight files for the tests."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from ml_engine.core.backbone import networks
from ml_engine.core.backbone.features import random_state


def own_file(path: Path, architecture: str = "resnet18", **changes: torch.Tensor) -> Path:
    """Write the network's random weights, with some tensors changed, as safetensors."""
    save_file({name: t.contiguous() for name, t in (random_state(architecture, 3) | changes).items()}, path)
    return path


def numbered(name: str) -> dict[str, torch.Tensor]:
    """A network's tensors, each filled with a different number."""
    shapes = networks.on_meta(name).state_dict()
    return {key: torch.full(value.shape, float(number)) for number, (key, value) in enumerate(shapes.items())}
