"""When two configs may share a film's features."""

from __future__ import annotations

from typing import Any

import pytest

from ml_engine.core.backbone.feature_key import ADDED, AFTERWARDS, key_of
from ml_engine.core.config import PipelineConfig

DEFAULT = PipelineConfig.from_preset("default")


def key(config: PipelineConfig = DEFAULT, **changes: Any) -> dict[str, Any]:
    given = {"weights": {"name": "imagenet", "sha256": "a" * 64}, "alignment_sha256": "b" * 64, "device": "cpu"}
    return key_of(config, **given | changes)


@pytest.mark.parametrize("setting", [{"rate": 0.2}, {"neighbours": 5}, {"seed": 3}, {"distance": "l2"}])
def test_what_comes_after_the_features_changes_nothing(setting: dict[str, Any]) -> None:
    assert key(DEFAULT.replace(**setting)) == key()


@pytest.mark.parametrize("setting", [{"layers": "layer3"}, {"pool": 5}, {"intensity": "minmax"}, {"batch": 2}])
def test_what_makes_the_features_makes_a_key_of_its_own(setting: dict[str, Any]) -> None:
    assert key(DEFAULT.replace(**setting)) != key()


@pytest.mark.parametrize(
    "change",
    [{"weights": {"name": "imagenet", "sha256": "c" * 64}}, {"alignment_sha256": None}, {"device": "NVIDIA H200"}],
)
def test_so_do_other_weights_another_alignment_and_another_device(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_a_setting_added_since_changes_the_key_only_where_it_changes_the_features() -> None:
    """So features kept by an earlier release, whose key lacks the setting, stay valid."""
    assert not set(key(DEFAULT.replace(**ADDED))["settings"]) & set(ADDED)
    assert key()["settings"]["kept_precision"] == "half"
    assert key(DEFAULT.replace(precision="bfloat16"))["settings"]["precision"] == "bfloat16"


def test_random_weights_are_told_apart_by_their_seed() -> None:
    random = {"weights": {"name": "random", "sha256": ""}}
    assert key(**random) != key(DEFAULT.replace(seed=3), **random)


def test_every_setting_that_is_left_out_exists() -> None:
    assert set(DEFAULT.to_json()) >= AFTERWARDS | set(ADDED)
