"""Vision transformers saved by Hugging Face's transformers, such as RAD-DINO, by timm's names of their tensors."""

from __future__ import annotations

import re

import torch
from torch import Tensor

_FIRST = "embeddings.cls_token"  # every such file has it
_OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
_IN_BLOCK = {
    "norm1": "norm1", "layernorm_before": "norm1",  # of DINOv2, and of the plain ViT
    "norm2": "norm2", "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
    "mlp.fc1": "mlp.fc1", "intermediate.dense": "mlp.fc1",
    "mlp.fc2": "mlp.fc2", "output.dense": "mlp.fc2",
}  # fmt: skip
_UNUSED = re.compile(r"embeddings\.mask_token|pooler\.dense\.(weight|bias)|classifier\.(weight|bias)")
_BLOCK = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_PROJECTIONS = ("query", "key", "value")  # rows of timm's attn.qkv, in this order
_PROJECTION = re.compile(r"attention\.attention\.(query|key|value)\.(weight|bias)")


def are_in(tensors: dict[str, Tensor]) -> bool:
    """Whether the tensors have the names of transformers, with or without a prefix such as ``vit.``."""
    return _prefix(tensors) is not None


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by timm's names, query, key and value joined in one; other files, and names that are not known, stay
    as they are. What features do not need is left out: mask token, pooler and classifier."""
    prefix = _prefix(tensors)
    if prefix is None:
        return tensors
    result: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name = key.removeprefix(prefix)
        if _UNUSED.fullmatch(name):
            continue
        block = _BLOCK.fullmatch(name)
        projection = _PROJECTION.fullmatch(block[2]) if block else None
        if block and projection:
            parts.setdefault(f"blocks.{block[1]}.attn.qkv.{projection[2]}", {})[projection[1]] = value
        elif block:
            result[f"blocks.{block[1]}.{_mapped(block[2], _IN_BLOCK)}"] = value
        else:
            result[_mapped(name, _OUTSIDE)] = value
    for name, joined in parts.items():
        if set(joined) == set(_PROJECTIONS):
            result[name] = torch.cat([joined[part] for part in _PROJECTIONS])
    return result


def _prefix(tensors: dict[str, Tensor]) -> str | None:
    keys = [key for key in tensors if key == _FIRST or key.endswith(f".{_FIRST}")]
    return keys[0].removesuffix(_FIRST) if len(keys) == 1 else None


def _mapped(name: str, names: dict[str, str]) -> str:
    """The name, with or without ``.weight`` or ``.bias`` at its end, in timm's words."""
    stem, dot, kind = name.rpartition(".")
    if kind in ("weight", "bias") and stem in names:
        return f"{names[stem]}{dot}{kind}"
    return names.get(name, name)
