from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.config import PREPARATION, PRESETS, VERSION, PipelineConfig, preparation_difference
from ml_engine.core.errors import InvalidConfig

DEFAULT = PipelineConfig.from_preset("default")
PAPER = PipelineConfig.from_preset("paper")


def test_the_paper_preset_has_the_values_of_the_paper() -> None:
    assert (PAPER.size, PAPER.rate, PAPER.grid, PAPER.neighbours, PAPER.distance) == (224, 0.01, 4, 9, "squared")
    assert (PAPER.fusion_weight, PAPER.fusion_choice, PAPER.standardise) == (0.6, "config", False)
    assert (PAPER.mask_threshold, PAPER.mask_keep, PAPER.mask_images) == (10, None, 500)
    assert (PAPER.intensity, PAPER.resize, PAPER.image_score) == ("minmax", "stretch", "max")
    assert PAPER.backbone == "wide_resnet50_2"
    assert PAPER.layer_names == ("layer2", "layer3")
    assert PAPER.alignment == AlignmentConfig.preset("paper")
    assert PAPER.coreset_exact_limit == 0  # always projected to 128


def test_paper_448_differs_in_size_alone() -> None:
    large = PipelineConfig.from_preset("paper-448")

    assert large.size == 448
    assert large.replace(size=224, preset="paper") == PAPER


def test_default_differs_from_the_paper_where_the_method_says_so() -> None:
    assert (DEFAULT.neighbours, DEFAULT.distance, DEFAULT.image_score, DEFAULT.top_share) == (1, "l2", "mean+top", 0.01)
    assert (DEFAULT.pool_padding, PAPER.pool_padding) == ("excluded", "counted")
    assert (DEFAULT.fusion_choice, DEFAULT.standardise, DEFAULT.mask_keep) == ("tune", True, 0.79)
    assert (DEFAULT.intensity, DEFAULT.resize) == ("window", "pad")
    assert (DEFAULT.mask_least, DEFAULT.mask_most) == (0.55, 0.95)


@pytest.mark.parametrize("preset", PRESETS)
def test_json_round_trip(preset: str) -> None:
    config = PipelineConfig.from_preset(preset).replace(rate=0.05, mask_keep=0.6)

    assert PipelineConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_json_with_few_settings_takes_the_others_from_its_preset() -> None:
    config = PipelineConfig.from_json({"version": VERSION, "preset": "paper", "rate": 1, "alignment": {"alpha": 20}})

    assert config == PAPER.replace(rate=1.0, alignment=replace(PAPER.alignment, alpha=20))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_without_a_version_has_the_values_of_that_release(preset: str) -> None:
    config = PipelineConfig.from_json({"preset": preset})

    is_default = preset == "default"
    assert config.backbone == "wide_resnet50_2"
    assert (config.pool_padding, config.image_score) == ("excluded", "top" if is_default else "max")
    assert (config.folds, config.controls) == (5, 0)
    assert config.alignment.method == ("network+search" if is_default else "network")
    assert PipelineConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("version", [0, VERSION + 1, "2", True])
def test_a_config_of_a_later_release_is_refused(version: object) -> None:
    with pytest.raises(InvalidConfig, match=r"this Hilum knows the settings up to version \d"):
        PipelineConfig.from_json({"version": version})


@pytest.mark.parametrize(
    "values", [{"rat": 1}, {"rate": "a"}, {"mask": 1}, {"size": 64.5}, {"alignment": 3}, {"seed": True}]
)
def test_json_with_unknown_names_or_wrong_types_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(values))):
        PipelineConfig.from_json(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", 0.0), ("rate", 1.5), ("rate", float("nan")), ("size", 100), ("size", 0), ("neighbours", 0),
        ("grid", 0), ("grid", 29), ("fusion_weight", -0.1), ("fusion_weight", 1.1), ("distance", "cosine"),
        ("fusion_weight", 0.333),
        ("backbone", "vgg16"), ("weights", " "), ("align", "yes"), ("layers", "layer3+layer2"), ("layers", "layer5"),
        ("pool", 2), ("mask_keep", 0.0), ("mask_least", 0.96), ("seed", -1), ("device", "tpu"),
        ("threads", 0), ("batch", 0), ("preset", "mine"), ("folds", 1), ("threshold_percentile", 101.0),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidConfig, match=name) as refusal:
        DEFAULT.replace(**{name: value})

    assert str(value).strip("0") in str(refusal.value)


def test_a_refusal_says_what_is_expected() -> None:
    with pytest.raises(InvalidConfig, match=r"distance is 'cosine': choose one of squared, l2\."):
        DEFAULT.replace(distance="cosine")
    with pytest.raises(InvalidConfig, match=r"mask is 'maybe': write yes or no\."):
        DEFAULT.replace_fields({"mask": "maybe"})
    with pytest.raises(InvalidConfig, match="preset cannot be set on its own: choose it first"):
        DEFAULT.replace_fields({"preset": "paper"})


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("rate", "0.1", "rate", 0.1), ("neighbours", "3", "neighbours", 3), ("mask", "no", "mask", False),
        ("mask", "True", "mask", True), ("mask.keep", "0.8", "mask_keep", 0.8),
        ("mask_keep", "none", "mask_keep", None),
        ("fusion-weight", "1", "fusion_weight", 1.0), ("weights", "a.safetensors", "weights", "a.safetensors"),
    ],
)  # fmt: skip
def test_settings_are_parsed_from_text(name: str, text: str, field: str, value: object) -> None:
    assert getattr(DEFAULT.replace_fields({name: text}), field) == value


def test_settings_of_the_alignment_are_parsed_from_text() -> None:
    assert DEFAULT.replace_fields({"alignment.epochs": "10"}).alignment.epochs == 10
    assert DEFAULT.replace_fields({"alignment.perceptual": "0"}).alignment.perceptual == 0


def test_settings_that_depend_on_each_other_come_in_any_order() -> None:
    texts = {"alignment.epochs": "2", "alignment.rounds": "1"}

    assert DEFAULT.replace_fields(texts).alignment.epochs == 2
    with pytest.raises(InvalidConfig, match="rounds"):
        DEFAULT.replace_fields({"alignment.epochs": "2"})


@pytest.mark.parametrize(
    ("name", "text"),
    [("rat", "1"), ("alignment", "1"), ("alignment.epoch", "1"), ("rate", "much"), ("size", "64.0"), ("mask", "maybe"),
     ("preset", "paper"), ("alignment.epochs", "few")],
)  # fmt: skip
def test_invalid_names_and_texts_are_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(InvalidConfig, match=name):
        DEFAULT.replace_fields({name: text})


def test_every_setting_has_a_description_and_the_papers_symbols_are_kept() -> None:
    for field in (*fields(PipelineConfig), *fields(AlignmentConfig)):
        assert field.metadata["help"].endswith("."), field.name
    symbols = {f.metadata["symbol"]: f.name for f in fields(PipelineConfig) if f.metadata["symbol"]}
    assert symbols == {
        "f": "backbone",
        "n": "grid",
        "s": "rate",
        "K": "neighbours",
        "w": "fusion_weight",
        "b": "reweight",
    }


def test_stride_and_patches_follow_the_first_layer() -> None:
    assert (DEFAULT.stride, DEFAULT.patches) == (8, 28)
    assert DEFAULT.replace(layers="layer1+layer2", size=64).patches == 16


def test_an_explicit_fusion_weight_is_not_chosen_on_tune() -> None:
    config = DEFAULT.replace_fields({"fusion-weight": "0.25"})

    assert (config.fusion_weight, config.fusion_choice) == (0.25, "config")
    assert DEFAULT.replace_fields({"fusion_weight": "0.25", "fusion_choice": "tune"}).fusion_choice == "tune"


@pytest.mark.parametrize("name", PREPARATION)
def test_a_film_is_prepared_alike_for_the_alignment_and_after_it(name: str) -> None:
    ours = PipelineConfig()
    assert preparation_difference(ours.to_json(), ours) is None
    assert preparation_difference(ours.to_json() | {name: "other"}, ours) == (name, "other", getattr(ours, name))


def test_an_alignment_from_before_clahe_did_without_it() -> None:
    older = {name: value for name, value in PipelineConfig().to_json().items() if not name.startswith("clahe")}
    assert preparation_difference(older, PipelineConfig(clahe=False)) is None
    assert preparation_difference(older, PipelineConfig(clahe=True)) == ("clahe", False, True)
    assert preparation_difference({}, PipelineConfig(clahe=False)) is None


@pytest.mark.parametrize(("version", "kept"), [(1, "single"), (2, "single"), (3, "half")])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_a_detector_of_before_keeps_single_precision(version: int, kept: str, preset: str) -> None:
    """It scored so, and its banks hold features that were never rounded."""
    stored = {"preset": preset, "version": version}
    assert PipelineConfig.from_json(stored).kept_precision == kept
    assert PipelineConfig.from_json(PipelineConfig.from_json(stored).to_json()).kept_precision == kept
