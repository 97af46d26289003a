"""Files of Hugging Face's transformers, made here from timm's networks, become timm's again."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from ml_engine.core.backbone import hugging_face_names, networks, tensor_names

DINOV2 = {  # timm -> transformers' Dinov2Model
    "cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm",
    "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1", "attn.proj": "attention.output.dense",
    "norm1": "norm1", "norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
}  # fmt: skip
PLAIN = DINOV2 | {  # timm -> transformers' ViTModel
    "norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
}  # fmt: skip
CASES = [
    ("timm:vit_base_patch14_dinov2", DINOV2, "", {"embeddings.mask_token": (1, 768)}),  # RAD-DINO
    ("timm:vit_small_patch14_dinov2", DINOV2, "backbone.", {"backbone.embeddings.mask_token": (1, 384)}),
    ("timm:vit_small_patch16_224.dino", PLAIN, "vit.", {"vit.pooler.dense.weight": (384, 384)}),
]


def as_transformers(state: dict[str, Tensor], names: dict[str, str], prefix: str) -> dict[str, Tensor]:
    theirs = {}
    for key, value in state.items():
        block = re.match(r"blocks[.](\d+)[.]", key)
        layer = f"{prefix}encoder.layer.{block[1]}." if block else prefix
        rest = key[block.end() :] if block else key
        if rest.startswith("attn.qkv."):
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                theirs[f"{layer}attention.attention.{part}.{rest[9:]}"] = rows
        elif rest in names:
            theirs[layer + names[rest]] = value
        else:
            stem, _, kind = rest.rpartition(".")
            theirs[f"{layer}{names[stem]}.{kind}"] = value
    return theirs


@pytest.mark.parametrize(("name", "names", "prefix", "extra"), CASES)
def test_they_become_timms_names(
    name: str, names: dict[str, str], prefix: str, extra: dict[str, tuple[int, ...]]
) -> None:
    shapes = networks.on_meta(name).state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.rand(tuple(value.shape), generator=generator) for key, value in shapes.items()}
    theirs = as_transformers(state, names, prefix) | {key: torch.zeros(shape) for key, shape in extra.items()}
    assert hugging_face_names.are_in(theirs)
    assert len(theirs) > len(state)  # query, key and value are three

    converted = tensor_names.convert(theirs, name)

    assert set(converted) == set(state)
    assert all(torch.equal(converted[key], state[key]) for key in state)


def test_what_is_not_known_stays_and_is_named() -> None:
    name = "timm:vit_small_patch14_dinov2"
    theirs = as_transformers(networks.on_meta(name).state_dict(), DINOV2, "")

    with_more = tensor_names.convert(theirs | {"encoder.layer.0.adapter.weight": torch.zeros(2)}, name)
    del theirs["encoder.layer.3.attention.attention.key.bias"]
    with_less = tensor_names.convert(theirs, name)

    assert "a tensor blocks.0.adapter.weight that the network does not have" in tensor_names.compare(with_more, name)[0]
    assert tensor_names.compare(with_less, name)[0] == "it has no tensor blocks.3.attn.qkv.bias"


def test_other_files_stay_as_they_are() -> None:
    tensors = {"conv1.weight": torch.zeros(1), "cls_token": torch.zeros(1)}

    assert not hugging_face_names.are_in(tensors)
    assert hugging_face_names.renamed(tensors) is tensors
