"""The checkpoint from which an interrupted fit resumes: a single file, replaced after each epoch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ml_engine.core.alignment.adam import Adam
from ml_engine.core.alignment.canonical import Canonical
from ml_engine.core.alignment.network import AlignmentNetwork
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.errors import IncompatibleModel
from ml_engine.core.files import read_tensors, write_tensors

NAME = "alignment-epoch.safetensors"
# Settings added since, with the value that changes nothing: left out of the fingerprint then, so that a checkpoint of
# an earlier release is resumed.
ADDED = {"patience": 0, "perceptual_precision": "float32"}


@dataclass
class State:
    """The state of a fit between two epochs. ``targets`` are the films' last estimated thetas (N, 2, 3), ``scales`` the
    initial value of each loss."""

    network: AlignmentNetwork
    adam: Adam
    generator: torch.Generator
    canonical: Canonical
    gauge: Tensor
    targets: Tensor
    scales: dict[str, float]
    history: list[dict[str, float]]

    @property
    def epochs_done(self) -> int:
        """The number of the last epoch; epochs left out by a plateau count."""
        return round(self.history[-1]["epoch"]) if self.history else 0


def fingerprint(tensors: list[Tensor], config: AlignmentConfig, seed: int) -> str:
    """The SHA-256, in hex, of everything that determines the result of a fit: only its own checkpoint is resumed."""
    settings = {name: value for name, value in config.to_json().items() if ADDED.get(name, ()) != value}
    digest = hashlib.sha256(json.dumps([settings, seed], sort_keys=True).encode())
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_state(folder: Path, state: State, *, identity: str) -> None:
    """Write the checkpoint; ``identity`` is the fit's `fingerprint`."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    for index, slots in state.adam.slots.items():
        tensors |= {f"adam.{index}.{name}": value for name, value in slots.items()}
    tensors |= {
        "generator": state.generator.get_state(),
        "canonical.image": state.canonical.image,
        "canonical.support": state.canonical.support,
        "gauge": state.gauge,
        "targets": state.targets,
    }
    facts = {"fit": identity, "scales": state.scales, "history": state.history}
    write_tensors(folder / NAME, tensors, facts)


def restore_state(folder: Path, state: State, *, identity: str) -> bool:
    """Load the checkpoint into ``state``. False, with ``state`` unchanged, where there is none of this fit."""
    tensors, facts = _read(folder / NAME)
    if facts.get("fit") != identity:
        return False
    device = state.gauge.device
    state.network.load_state_dict(_below("network.", tensors))
    _restore_adam(state.adam, _below("adam.", tensors))
    state.generator.set_state(tensors["generator"])
    state.canonical = Canonical(tensors["canonical.image"].to(device), tensors["canonical.support"].to(device))
    state.gauge, state.targets = tensors["gauge"].to(device), tensors["targets"].to(device)
    state.scales, state.history = facts["scales"], facts["history"]
    return True


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.exists():
        return {}, {}
    try:
        return read_tensors(path)
    except IncompatibleModel:
        return {}, {}  # damaged: the fit starts at its first epoch


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_adam(adam: Adam, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = value
    adam.load(slots)
