"""Tensors of published weight files, converted to the names of the networks."""

from __future__ import annotations

import pytest
import torch

from ml_engine.core.architectures import XRV
from ml_engine.core.backbone import networks, tensor_names
from ml_engine.core.errors import IncompatibleModel
from tests.ml_engine.core.backbone.weight_files import numbered


def test_dinov2s_own_file_becomes_timms() -> None:
    name = "timm:vit_small_patch14_dinov2"
    ours = numbered(name)

    converted = tensor_names.convert({**ours, "mask_token": torch.zeros(1, 384)}, name)

    assert all(torch.equal(converted[key], ours[key]) for key in ours)
    assert tensor_names.compare(converted, name) == ("", len(ours))


def test_dinov2_with_registers_keeps_the_class_tokens_position() -> None:
    name = "timm:vit_small_patch14_reg4_dinov2"
    ours = numbered(name)
    theirs = {key: value for key, value in ours.items() if key not in ("reg_token", "cls_token", "pos_embed")}
    theirs |= {"mask_token": torch.zeros(1, 384), "register_tokens": torch.ones(1, 4, 384)}
    theirs |= {"cls_token": torch.full((1, 1, 384), 2.0), "pos_embed": torch.full((1, 1370, 384), 3.0)}

    converted = tensor_names.convert(theirs, name)

    assert tensor_names.compare(converted, name)[0] == ""
    assert converted["cls_token"].unique().tolist() == [5]
    assert converted["reg_token"].unique().tolist() == [1]


def test_a_classifier_is_left_out() -> None:
    name = "timm:convnext_tiny"
    state = networks.on_meta(name).state_dict()
    head = {"head.fc.weight": torch.zeros(1000, 768), "head.fc.bias": torch.zeros(1000)}

    assert set(tensor_names.convert(state | head, name)) == set(state)


@pytest.mark.parametrize(
    ("tensor", "shape", "expected"),
    [("pos_embed", (1, 258, 384), (1, 1370, 384)), ("patch_embed.proj.weight", (384, 3, 16, 16), (384, 3, 14, 14))],
)
def test_tensors_of_another_size_are_refused_and_not_resampled(
    tensor: str, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    name = "timm:vit_small_patch14_dinov2"
    state = networks.on_meta(name).state_dict() | {tensor: torch.zeros(shape)}

    with pytest.raises(IncompatibleModel) as refusal:
        tensor_names.convert(state, name)

    assert str(refusal.value) == (
        f"The file does not fit {name}: {tensor} has the shape {shape} and should have {expected}."
    )


def test_old_names_of_densenet_are_brought_up_to_date() -> None:
    state = networks.on_meta("densenet121").state_dict()
    old = {}
    for key, value in state.items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            key = key.replace(f".{part}.", f".{part[:4]}.{part[4]}.") if "denselayer" in key else key
        old[key] = value

    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert list(tensor_names.convert(old, "densenet121")) == list(state)


def test_torchxrayvisions_operating_points_are_left_out() -> None:
    state = networks.on_meta(XRV).state_dict()

    converted = tensor_names.convert(state | {"op_threshs": torch.zeros(18)}, XRV)

    assert tensor_names.compare(converted, XRV) == ("", len(state))
    assert converted["features.conv0.weight"].shape == (64, 1, 7, 7)
    assert converted["classifier.weight"].shape == (18, 1024)
