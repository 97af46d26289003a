"""The backbones by name: layers, strides, sizes and normalisation.

Does not import torch, so that a config can be checked without it.

The layers of a convolutional network are layer1 to layer4, its last feature maps with a stride of 4, 8, 16 and 32
pixels. Those of a vision transformer (ViT) are its blocks, block0 onwards as in timm, or ``last``; the tokens of a
block form one map with the stride of the patch embedding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from ml_engine.core.errors import InvalidConfig

Kind = Literal["resnet", "densenet", "lite", "stages", "tokens"]

LAYERS = ("layer1", "layer2", "layer3", "layer4")
LAST = "last"
TIMM = "timm:"
XRV = "xrv_densenet121"
_TIMM_NAME = re.compile(r"timm:[a-z0-9_]+(\.[a-z0-9_]+)?")  # never hf-hub:..., which timm would download
_BLOCK = re.compile(r"block(0|[1-9]\d{0,2})")
_PATCH = re.compile(r"patch(\d+)")


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation that normalise gray values in [0, 1], one value per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET_STATISTICS = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # EfficientNet-Lite, many ViTs
XRV_RANGE = Normalisation((0.5,), (1 / 2048,))  # [0, 1] to [-1024, 1024], one channel: torchxrayvision


@dataclass(frozen=True)
class Backbone:
    """A network as far as a config needs to know it.

    ``patch`` is the side of a ViT's patch in pixels, 0 for other kinds; ``blocks`` the number of its blocks, 0 where
    unknown before it is built. ``normalisation`` is None where timm's metadata give it.
    """

    name: str
    kind: Kind
    normalisation: Normalisation | None = IMAGENET_STATISTICS
    patch: int = 0
    blocks: int = 0

    @property
    def timm_name(self) -> str:
        """timm's name of the network; empty for networks that are not timm's."""
        return self.name.removeprefix(TIMM) if self.name.startswith(TIMM) else ""

    @property
    def multiple(self) -> int:
        """The side of the canonical image must be a multiple of this number of pixels."""
        return self.patch or 32

    @property
    def usual_layers(self) -> str:
        """The default ``layers`` for this backbone."""
        return LAST if self.kind == "tokens" else "layer2+layer3"

    @property
    def layers_in_words(self) -> str:
        """The layers that can be chosen, for an error message."""
        if self.kind != "tokens":
            return "stages in order, such as layer2+layer3"
        if not self.blocks:
            return "blocks in order, counted from block0, such as block8+block11, or last"
        final = self.blocks - 1
        return f"blocks in order, from block0 to block{final}, such as block{final - 3}+block{final}, or last"

    def has_layers(self, names: tuple[str, ...]) -> bool:
        """Whether all names are layers of this backbone, in order and without repeats."""
        if self.kind != "tokens":
            return all(name in LAYERS for name in names) and sorted(set(names)) == list(names)
        blocks = [self._block(name) for name in names]
        known = all(b is not None and (b < self.blocks or not self.blocks) for b in blocks[:-1])
        final = names[-1] == LAST or (blocks[-1] is not None and (blocks[-1] < self.blocks or not self.blocks))
        numbers = [b for b in blocks if b is not None]
        repeated = names[-1] == LAST and self.blocks > 0 and self.blocks - 1 in numbers
        return known and final and numbers == sorted(set(numbers)) and not repeated

    @staticmethod
    def _block(name: str) -> int | None:
        """The number of a block by its name; None for any other name."""
        return int(name.removeprefix("block")) if _BLOCK.fullmatch(name) else None

    def stride(self, layer: str) -> int:
        """The side of a patch of this layer's map, in pixels of the canonical image."""
        return self.patch or 4 << LAYERS.index(layer)


def _vit(name: str, patch: int, normalisation: Normalisation) -> Backbone:
    return Backbone(f"timm:{name}", "tokens", normalisation, patch=patch, blocks=12)


KNOWN = {
    backbone.name: backbone
    for backbone in (
        Backbone("wide_resnet50_2", "resnet"),
        Backbone("wide_resnet101_2", "resnet"),
        Backbone("resnet18", "resnet"),
        Backbone("resnet34", "resnet"),
        Backbone("resnet50", "resnet"),
        Backbone("resnet101", "resnet"),
        Backbone("densenet121", "densenet"),
        Backbone("tf_efficientnet_lite0", "lite", HALF),
        Backbone("tf_efficientnet_lite2", "lite", HALF),
        Backbone(XRV, "densenet", XRV_RANGE),
        Backbone("timm:convnext_tiny", "stages"),
        Backbone("timm:efficientnet_b0", "stages"),
        _vit("vit_small_patch14_dinov2", 14, IMAGENET_STATISTICS),
        _vit("vit_base_patch14_dinov2", 14, IMAGENET_STATISTICS),
        _vit("vit_small_patch16_224", 16, HALF),
        _vit("vit_base_patch16_224", 16, HALF),
        _vit("vit_small_patch16_224.dino", 16, IMAGENET_STATISTICS),
    )
}
NAMES = tuple(KNOWN)


def find(name: str) -> Backbone:
    """The backbone with this name: one of the table `KNOWN`, or ``timm:NAME`` for any network of timm.

    A name outside the table is checked for its form only; whether timm has it is checked when the network is built.
    Raises InvalidConfig for any other name.
    """
    if name in KNOWN:
        return KNOWN[name]
    if not _TIMM_NAME.fullmatch(name):
        near = get_close_matches(name, NAMES, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise InvalidConfig(
            f"backbone is {name!r}: choose one of {', '.join(NAMES)}, or timm:NAME with timm's name of another "
            f"network.{meant}"
        )
    patch = _PATCH.search(name)
    if patch and int(patch[1]) >= 8:  # a smaller patch belongs to a pyramid, such as Swin
        return Backbone(name, "tokens", None, patch=int(patch[1]))
    return Backbone(name, "stages", None)
