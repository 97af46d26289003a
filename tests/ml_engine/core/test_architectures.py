from __future__ import annotations

import subprocess
import sys

import pytest

from ml_engine.core import architectures
from ml_engine.core.config import BACKBONES, PipelineConfig
from ml_engine.core.errors import InvalidConfig

DEFAULT = PipelineConfig.from_preset("default")
SMALL_VIT = "timm:vit_small_patch14_dinov2"


def test_a_config_is_checked_without_torch() -> None:
    code = (
        "import sys; from ml_engine.core.config import PipelineConfig as C; "
        f"C.from_preset('default').replace_fields({{'backbone': '{SMALL_VIT}'}}); "
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("backbone", "layers", "size", "stride", "patches"),
    [
        ("wide_resnet50_2", "layer2+layer3", 224, 8, 28),
        ("densenet121", "layer1+layer2", 224, 4, 56),
        ("xrv_densenet121", "layer3", 224, 16, 14),
        ("timm:convnext_tiny", "layer4", 224, 32, 7),
        (SMALL_VIT, "block8+block11", 224, 14, 16),
        (SMALL_VIT, "last", 448, 14, 32),
        ("timm:vit_base_patch16_224", "last", 224, 16, 14),
        ("timm:vit_small_patch8_224.dino", "block3", 224, 8, 28),  # not in the table: the patch is in its name
        ("timm:swin_tiny_patch4_window7_224", "layer2", 224, 8, 28),  # a pyramid, although its name holds a patch
    ],
)
def test_stride_and_patches_follow_the_backbone(
    backbone: str, layers: str, size: int, stride: int, patches: int
) -> None:
    config = DEFAULT.replace(backbone=backbone, layers=layers, size=size, weights="random")

    assert (config.stride, config.patches) == (stride, patches)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "timm's name of another network. Did you mean resnet18?"),
        ("timm:hf-hub:someone/net", "backbone is 'timm:hf-hub:someone/net'"),
        ("timm:", "backbone is 'timm:'"),
        ("timm:../net", "choose one of wide_resnet50_2"),
    ],
)
def test_an_unknown_backbone_is_refused(name: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        DEFAULT.replace(backbone=name, weights="random")

    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("backbone", "layers", "message"),
    [
        ("resnet18", "last", "stages in order, such as layer2+layer3"),
        ("densenet121", "layer3+layer2", "stages in order"),
        (SMALL_VIT, "layer2", "blocks in order, from block0 to block11, such as block8+block11, or last"),
        (SMALL_VIT, "block12", "from block0 to block11"),
        (SMALL_VIT, "block12+last", "from block0 to block11"),
        (SMALL_VIT, "block11+block8", "blocks in order"),
        (SMALL_VIT, "block10+block9", "blocks in order"),
        (SMALL_VIT, "block3+block3", "blocks in order"),
        (SMALL_VIT, "block11+last", "blocks in order"),  # the last block twice
        (SMALL_VIT, "last+block3", "blocks in order"),
        (SMALL_VIT, "block01", "blocks in order"),
        ("timm:vit_huge_patch14_224", "layer2", "blocks in order, counted from block0"),
    ],
)
def test_layers_of_another_backbone_are_refused(backbone: str, layers: str, message: str) -> None:
    with pytest.raises(InvalidConfig, match="layers is") as refusal:
        DEFAULT.replace(backbone=backbone, layers=layers, weights="random")

    assert message in str(refusal.value)


@pytest.mark.parametrize("layers", ["block2+block10", "block0+block3+last", "last", "block11"])
def test_blocks_are_in_the_order_of_their_numbers(layers: str) -> None:
    assert DEFAULT.replace(backbone=SMALL_VIT, layers=layers, weights="random").layers == layers


@pytest.mark.parametrize(
    ("backbone", "size", "message"),
    [
        ("resnet18", 210, "size is 210: it must be a multiple of 32, such as 224 or 448."),
        (SMALL_VIT, 256, f"size is 256: it must be a multiple of 14, the patch of {SMALL_VIT}, such as 224 or 448."),
        ("timm:vit_tiny_patch16_224", 210, "a multiple of 16, the patch of timm:vit_tiny_patch16_224, such as 224"),
    ],
)
def test_a_size_that_the_patch_does_not_divide_is_refused(backbone: str, size: int, message: str) -> None:
    layers = architectures.find(backbone).usual_layers

    with pytest.raises(InvalidConfig) as refusal:
        DEFAULT.replace(backbone=backbone, layers=layers, size=size, weights="random")

    assert message in str(refusal.value)


def test_a_backbone_implies_its_layers_and_weights() -> None:
    vit = DEFAULT.replace_fields({"backbone": SMALL_VIT})
    assert (vit.layers, vit.weights, vit.patches) == ("last", "dinov2", 16)
    back = vit.replace_fields({"backbone": "resnet50"})
    assert (back.layers, back.weights) == ("layer2+layer3", "imagenet")
    own = DEFAULT.replace_fields({"backbone": SMALL_VIT, "layers": "block5", "weights": "random"})
    assert (own.layers, own.weights) == ("block5", "random")
    assert DEFAULT.replace_fields({"weights": "mine.safetensors"}).replace_fields({"backbone": SMALL_VIT}).weights == (
        "mine.safetensors"
    )
    third = DEFAULT.replace(layers="layer3").replace_fields({"backbone": "densenet121"})
    assert (third.layers, third.weights) == ("layer3", "imagenet")


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        (
            "timm:convnext_tiny",
            "imagenet",
            "must be random or the name of an imported file with backbone timm",
        ),
        ("resnet18", "imagenet-v2", "must be imagenet, random or the name"),
        ("resnet50", "dinov2", "must be imagenet, imagenet-v2, random or the name"),
    ],
)
def test_weights_published_for_other_backbones_are_refused(backbone: str, weights: str, message: str) -> None:
    with pytest.raises(InvalidConfig, match=f"weights is '{weights}'") as refusal:
        DEFAULT.replace_fields({"backbone": backbone, "weights": weights})

    assert message in str(refusal.value)


@pytest.mark.parametrize("name", BACKBONES)
def test_each_offered_backbone_needs_only_its_name(name: str) -> None:
    config = DEFAULT.replace_fields({"backbone": name, "weights": "random"})

    assert config.patches * config.stride == config.size == 224
    assert PipelineConfig.from_json(config.to_json()) == config
