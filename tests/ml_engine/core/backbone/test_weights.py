"""Weights in the weights folder: loaded by name, checked, listed and verified."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ml_engine.core.backbone import weight_import, weights
from ml_engine.core.backbone.features import random_state
from ml_engine.core.backbone.weights import WeightsMissing
from ml_engine.core.errors import IncompatibleModel
from tests.ml_engine.core.backbone.weight_files import own_file
from tests.paths import ROOT


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    stored = weight_import.import_file(own_file(tmp_path / "a.safetensors"), folder=tmp_path / "w")

    with pytest.raises(IncompatibleModel, match="does not fit resnet50"):
        weights.load_backbone(stored.name, "resnet50", seed=0, folder=tmp_path / "w")


def test_a_refusal_of_missing_weights_names_both_remedies(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="weights import FILE") as refusal:
        weights.load_backbone("imagenet", "resnet18", seed=0, folder=tmp_path)
    assert "random" in str(refusal.value)
    for name in ("nothing.safetensors", "../secret", "/etc/passwd"):
        with pytest.raises(WeightsMissing, match="no weights called"):
            weights.load_backbone(name, "resnet18", seed=0, folder=tmp_path)
    with pytest.raises(WeightsMissing, match="neither imagenet nor random nor a file"):
        weight_import.ensure("imagnet", "resnet18", folder=tmp_path)


def test_random_has_a_name_and_no_hash(tmp_path: Path) -> None:
    loaded = weights.load_backbone("random", "resnet18", seed=4, folder=tmp_path)

    assert loaded.to_json() == {"name": "random", "sha256": None}
    assert torch.equal(loaded.state["conv1.weight"], random_state("resnet18", 4)["conv1.weight"])


def test_list_and_verify(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    stored = weight_import.import_file(own_file(tmp_path / "a.safetensors"), folder=folder)
    (folder / "broken.safetensors").write_bytes(b"x")

    assert weights.list_files(folder) == [stored]
    assert weights.list_files(tmp_path / "nowhere") == []
    assert weights.verify(stored.name, folder=folder) == stored
    raw = bytearray((folder / stored.name).read_bytes())
    raw[-1] ^= 1
    (folder / stored.name).write_bytes(raw)
    with pytest.raises(IncompatibleModel, match="has changed since it was imported"):
        weights.verify(stored.name, folder=folder)


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path))
    assert weights.default_folder() == tmp_path / "weights"
    monkeypatch.delenv("HILUM_DATA_DIR")
    assert weights.default_folder() == ROOT / "var" / "weights"
