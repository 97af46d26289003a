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
from ml_engine.core.backbone.networks import on_meta
from ml_engine.core.errors import IncompatibleModel

_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")  # names before torchvision 0.4


@dataclass(frozen=True)
class _Outline:
    """A network's tensors by name, and what the names of its classifier's begin with, which is not built."""

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
    """A published file's tensors by the network's names, as far as they can be: timm's own conversion is applied
    where they are none of its own (DINOv2's files among others), after `features_only`.

    Raises IncompatibleModel where timm would resample a tensor of another size.
    """
    found = features_only(tensors, architecture)
    if not architecture.startswith(TIMM) or not compare(found, architecture)[0]:
        return found
    network = on_meta(architecture)
    convert = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
    if convert is None:
        return found
    _refuse_resampling(tensors, network, architecture)
    try:
        return features_only(convert(dict(tensors), network), architecture)  # it takes entries out
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError):
        return found  # of another network: `compare` says in what


def features_only(tensors: dict[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """The tensors without those that are no features (a classifier of timm's, torchxrayvision's operating points),
    old DenseNet names brought up to date."""
    if architecture == XRV:
        return {name: value for name, value in tensors.items() if name != "op_threshs"}
    if architecture.startswith("densenet"):
        return {_OLD_DENSE.sub(r"\1", name): value for name, value in tensors.items()}
    if not architecture.startswith(TIMM):
        return tensors
    return {name: value for name, value in tensors.items() if not name.startswith(_outline(architecture).heads)}


def _refuse_resampling(tensors: dict[str, Tensor], network: nn.Module, architecture: str) -> None:
    """timm would fit these to the network by interpolation without a word."""
    wanted = network.state_dict()
    for name, free in (("patch_embed.proj.weight", 0), ("pos_embed", 1)):  # the class token may have no position
        if name not in tensors or name not in wanted:
            continue
        found, expected = tuple(tensors[name].shape), tuple(wanted[name].shape)
        same = found == expected
        if free and len(found) == len(expected) == 3:
            same = abs(found[1] - expected[1]) <= free and found[2] == expected[2]
        if not same:
            raise IncompatibleModel(
                f"The file does not fit {architecture}: {name} has the shape {found} and should have {expected}."
            )


def compare(tensors: dict[str, Tensor], architecture: str) -> tuple[str, int]:
    """What is wrong with the tensors for this architecture, the first difference, empty when nothing is; and how many
    of them have a name and shape of it."""
    wanted = _outline(architecture).shapes
    shared = sum(value.shape == wanted.get(name) for name, value in tensors.items())
    missing = sorted(set(wanted) - set(tensors) - {n for n in wanted if n.endswith("num_batches_tracked")})
    if missing:
        return f"it has no tensor {missing[0]}", shared
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        return f"it has a tensor {extra[0]} that the network has not", shared
    for name, value in tensors.items():
        if value.shape != wanted[name]:
            should = f"{name} has the shape {tuple(value.shape)} and should have {tuple(wanted[name])}"
            return should, shared
    return "", shared
