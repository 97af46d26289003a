"""The tensors of weight files by the names of a network: conversion of published names, and comparison of shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, cast

import torch
import torch.nn as nn
from torch import Tensor

from ml_engine.core.architectures import TIMM, XRV
from ml_engine.core.backbone import efficientnet_lite, hugging_face_names
from ml_engine.core.backbone.networks import on_meta, own_grid
from ml_engine.core.errors import IncompatibleModel

_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")  # names before torchvision 0.4


@dataclass(frozen=True)
class _Outline:
    """The shapes of a network's tensors by name, and the prefixes of the classifier's names, which is not built."""

    shapes: Mapping[str, torch.Size]
    heads: tuple[str, ...]


@cache
def _outline(architecture: str) -> _Outline:
    network = on_meta(architecture)
    facts = cast(dict[str, Any], network.pretrained_cfg) if architecture.startswith(TIMM) else {}
    heads = facts.get("classifier") or ()
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    return _Outline(shapes, tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads)))


def convert(tensors: dict[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """The tensors of a published file by the network's names, after `features_only`.

    Where they do not have timm's names, those of Hugging Face's transformers (as RAD-DINO's) are replaced, or timm's
    own conversion is applied (as for DINOv2's files); names that it does not know stay as they are. Raises
    IncompatibleModel where timm would resample a tensor of another size.
    """
    if architecture.startswith(TIMM):
        tensors = hugging_face_names.renamed(tensors)
    features = features_only(tensors, architecture)
    if not architecture.startswith(TIMM) or not compare(features, architecture)[0]:
        return features
    network = on_meta(architecture)
    timm_convert = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
    if timm_convert is None:
        return features
    _refuse_resampling(tensors, network, architecture)
    try:
        return features_only(timm_convert(dict(tensors), network), architecture)  # it removes entries of the dict
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError):
        return features  # of another network: `compare` finds the difference


def features_only(tensors: dict[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """The tensors without those that features do not need (the classifier of a timm network, torchxrayvision's
    operating points), and with current names in place of old DenseNet names and of EfficientNet-Lite's package."""
    if architecture == XRV:
        return {name: value for name, value in tensors.items() if name != "op_threshs"}
    if architecture in efficientnet_lite.SHAPES:
        return efficientnet_lite.renamed(tensors, architecture)
    if architecture.startswith("densenet"):
        return {_OLD_DENSE.sub(r"\1", name): value for name, value in tensors.items()}
    if not architecture.startswith(TIMM):
        return tensors
    return {name: value for name, value in tensors.items() if not name.startswith(_outline(architecture).heads)}


def _refuse_resampling(tensors: dict[str, Tensor], network: nn.Module, architecture: str) -> None:
    """Raises IncompatibleModel for tensors that timm would silently resample to the network's size."""
    wanted = network.state_dict()
    for name, free in (("patch_embed.proj.weight", 0), ("pos_embed", 1)):  # the class token may have no position
        if name not in tensors or name not in wanted:
            continue
        shape, expected = tuple(tensors[name].shape), tuple(wanted[name].shape)
        same = shape == expected
        if free and len(shape) == len(expected) == 3:
            same = abs(shape[1] - expected[1]) <= free and shape[2] == expected[2]
        if not same:
            raise IncompatibleModel(
                f"The file does not fit {architecture}: {name} has the shape {shape} and should have {expected}."
            )


def compare(tensors: dict[str, Tensor], architecture: str) -> tuple[str, int]:
    """The first difference between the tensors and those of the architecture, as part of a sentence, empty if there is
    none; and the number of tensors with the right name and shape. A ViT's position embedding may have a grid of its
    own."""
    wanted = _outline(architecture).shapes
    if own_grid(architecture, tensors):
        wanted = {**wanted, "pos_embed": tensors["pos_embed"].shape}
    shared = sum(value.shape == wanted.get(name) for name, value in tensors.items())
    missing = sorted(set(wanted) - set(tensors) - {n for n in wanted if n.endswith("num_batches_tracked")})
    if missing:
        return f"it has no tensor {missing[0]}", shared
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        return f"it has a tensor {extra[0]} that the network does not have", shared
    for name, value in tensors.items():
        if value.shape != wanted[name]:
            return f"{name} has the shape {tuple(value.shape)} and should have {tuple(wanted[name])}", shared
    return "", shared
