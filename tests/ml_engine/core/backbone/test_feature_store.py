"""The store of films and their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ml_engine.core.backbone import feature_store
from ml_engine.core.backbone.feature_store import FeatureStore, PlacedFilm, key_of
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import IncompatibleModel

RANDOM = {"name": "random", "sha256": None}
BEFORE = {
    "intensity": "minmax", "low_percentile": 1.0, "high_percentile": 98.0, "size": 256, "resize": "stretch",
    "backbone": "resnet18", "layers": "layer2", "pool": 5, "batch": 4, "threads": 1,
}  # fmt: skip
AFTER = {
    "grid": 2, "halo": 0, "rate": 0.5, "neighbours": 9, "distance": "squared", "mask": False, "mask_keep": 0.6,
    "fusion_weight": 0.5, "standardise": False, "memory_gib": 3.0, "folds": 3, "search": "faiss", "align": "none",
}  # fmt: skip


def key(config: PipelineConfig, **changes: object) -> dict:
    facts = {"weights": RANDOM, "alignment_sha256": None, "device": "cpu"} | changes
    return key_of(config, **facts)


def placed(seed: int) -> PlacedFilm:
    rng = np.random.default_rng(seed)
    return PlacedFilm(
        rng.random((8, 8), dtype=np.float32), np.arange(4), rng.random((2, 3)), rng.random((2, 3)), bool(seed % 2)
    )


@pytest.mark.parametrize("name", BEFORE)
def test_a_setting_that_the_features_depend_on_makes_another_store(name: str) -> None:
    config = PipelineConfig()

    assert key(config) != key(config.replace(**{name: BEFORE[name]}))


@pytest.mark.parametrize("name", AFTER)
def test_a_setting_that_applies_after_the_features_shares_the_store(name: str) -> None:
    config = PipelineConfig()

    assert key(config) == key(config.replace(**{name: AFTER[name]}))


def test_weights_seed_alignment_and_device_are_part_of_the_key() -> None:
    config = PipelineConfig(weights="random")
    file = {"name": "imagenet", "sha256": "a" * 64}

    assert key(config) != key(config.replace(seed=1))
    assert key(config, weights=file) == key(config.replace(seed=1), weights=file)
    assert key(config) != key(config, weights=file)
    assert key(config) != key(config, alignment_sha256="b" * 64)
    assert key(config) != key(config, device="cuda")


def test_a_stored_film_is_restored_as_it_was_kept(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, key(PipelineConfig()))
    features = torch.rand(16, 5)
    store.keep("c" * 64, placed(1), features)

    again = FeatureStore(tmp_path, key(PipelineConfig()))

    film = again.placed("c" * 64)
    for name in ("image", "box", "original_from_input", "input_from_canonical", "flagged"):
        np.testing.assert_array_equal(getattr(film, name), getattr(placed(1), name))
    assert torch.equal(again.features("c" * 64), features.half().float())
    assert again.path("c" * 64).stat().st_size < 2 * features.numel() + 1500
    assert not again.holds("")
    assert not FeatureStore(tmp_path, key(PipelineConfig(pool=5))).holds("c" * 64)


def test_features_too_large_for_half_precision_are_kept_in_single(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, key(PipelineConfig()))
    features = torch.rand(16, 5) * 1e5

    store.keep("c" * 64, placed(1), features)

    assert torch.equal(store.features("c" * 64), features)


def test_a_detector_in_single_precision_keeps_all_digits(tmp_path: Path) -> None:
    store, features = FeatureStore(tmp_path, key(PipelineConfig(kept_precision="single"))), torch.rand(16, 5)
    store.keep("c" * 64, placed(1), features)

    assert torch.equal(store.features("c" * 64), features)


def test_a_damaged_film_file_is_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, key(PipelineConfig()))
    store.path("d" * 64).write_bytes(b"half")

    with pytest.raises(IncompatibleModel, match=r"ddd\.safetensors in .* cannot be read: delete that file"):
        store.features("d" * 64)


def test_link_can_leave_films_out(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "old", key(PipelineConfig()))
    for name in ("a", "b"):
        store.keep(name * 64, placed(0), torch.rand(4, 2))

    feature_store.link(tmp_path / "old", tmp_path / "new", without=frozenset({"a" * 64}))

    linked = FeatureStore(tmp_path / "new", key(PipelineConfig()))
    assert not linked.holds("a" * 64)
    assert torch.equal(linked.features("b" * 64), store.features("b" * 64))
