"""The settings of the alignment: presets, JSON, and refusals that name the setting."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.errors import InvalidConfig


def test_the_paper_preset_has_the_values_of_the_paper() -> None:
    paper = AlignmentConfig.preset("paper")
    assert (paper.method, paper.initialisation, paper.backbone, paper.alpha) == ("network", "paper", "resnet18", 10)
    assert (paper.constancy, paper.ssim, paper.perceptual, paper.local_ncc) == (1, 1, 1, 0)
    assert (paper.learning_rate, paper.batch, paper.epochs, paper.size) == (1e-4, 32, 50, 224)
    assert (paper.rounds, paper.canonical_images) == (1, 500)
    assert not (paper.normalise_losses or paper.valid_only or paper.coarse_to_fine or paper.fallback)


def test_the_default_preset() -> None:
    default = AlignmentConfig.preset("default")
    assert (default.method, default.initialisation) == ("search", "residual-bounded")
    assert (default.rounds, default.perceptual, default.size) == (3, 1, 224)
    assert default.normalise_losses and default.valid_only and default.coarse_to_fine and default.fallback


def test_every_setting_has_a_description() -> None:
    for setting in fields(AlignmentConfig):
        assert setting.metadata["help"].endswith("."), setting.name
        assert isinstance(setting.metadata["symbol"], str), setting.name


@pytest.mark.parametrize("name", ["default", "paper"])
def test_json_round_trip(name: str) -> None:
    config = AlignmentConfig.preset(name)
    assert AlignmentConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", "vgg19"),
        ("initialisation", "zero"),
        ("method", "guess"),
        ("canonical", "atlas"),
        ("canonical_fit", "spline"),
        ("alpha", 1.0),
        ("ssim", -1.0),
        ("learning_rate", 0.0),
        ("batch", 1),
        ("epochs", 0),
        ("rounds", 51),
        ("size", 100),
        ("search_steps", -1),
        ("guard_valid_area", 1.0),
        ("least_valid_area", 1.1),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidConfig, match=f"alignment.{name} is {value}"):
        AlignmentConfig(**{name: value})


def test_a_fit_without_a_similarity_loss_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="all 0"):
        AlignmentConfig(constancy=0, ssim=0, perceptual=0, local_ncc=0)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"alignment\.epoch is not a setting"):
        AlignmentConfig.from_json({"epoch": 3})
    with pytest.raises(InvalidConfig, match="alignment has no preset 'best': choose paper or default"):
        AlignmentConfig.preset("best")


def test_a_last_batch_of_one_film_and_one_pixel_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"alignment\.batch is 2: it must be at least 3 where"):
        AlignmentConfig(size=32, batch=2)


@pytest.mark.parametrize("values", [{"epochs": "20"}, {"epochs": True}, {"valid_only": "no"}, {"method": 3}])
def test_json_of_another_type_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match=rf"alignment\.{next(iter(values))} is .*: it must be"):
        AlignmentConfig.from_json(values)


def test_the_method_landmarks_takes_no_other_canonical_image() -> None:
    with pytest.raises(InvalidConfig, match=r"alignment\.canonical is file and alignment\.method is landmarks"):
        AlignmentConfig(method="landmarks", canonical="file")


@pytest.mark.parametrize(
    ("method", "network", "search"),
    [("network", True, False), ("search", False, True), ("network+search", True, True), ("landmarks", False, False)],
)
def test_what_a_method_uses(method: str, network: bool, search: bool) -> None:
    config = AlignmentConfig(method=method)
    assert (config.uses_network, config.uses_search) == (network, search)
    assert config.uses_landmarks == (method == "landmarks")


def test_only_films_with_landmarks_are_averaged_in_perspective() -> None:
    assert AlignmentConfig(canonical="landmarks", canonical_fit="perspective").canonical_fit == "perspective"
    with pytest.raises(
        InvalidConfig, match=r"alignment\.canonical_fit is perspective and alignment\.canonical is group"
    ):
        AlignmentConfig(canonical_fit="perspective")


def test_landmarks_may_make_the_canonical_image() -> None:
    assert AlignmentConfig(canonical="landmarks").uses_landmarks
