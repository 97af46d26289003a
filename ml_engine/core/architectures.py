"""The backbones by name: layers, strides, sizes and normalisation. No torch: a web process checks configs with this.

Convolutional networks have the layers layer1 to layer4, the last maps with strides 4, 8, 16 and 32 pixels.
Vision transformers (ViT) have blocks, counted from 0 as timm does, or ``last``; the tokens of a block are one
map with the stride of the patch embedding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from ml_engine.core.errors import InvalidConfig

Kind = Literal["resnet", "densenet", "stages", "tokens"]

LAYERS = ("layer1", "layer2", "layer3", "layer4")
LAST = "last"
TIMM = "timm:"
XRV = "xrv_densenet121"
_TIMM_NAME = re.compile(r"timm:[a-z0-9_]+(\.[a-z0-9_]+)?")  # never hf-hub:..., which would be fetched
_BLOCK = re.compile(r"block(0|[1-9]\d{0,2})")
_PATCH = re.compile(r"patch(\d+)")


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from gray values in [0, 1], and what they are then divided by, one value a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET_STATISTICS = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # many ViTs
XRV_RANGE = Normalisation((0.5,), (1 / 2048,))  # [0, 1] to [-1024, 1024], one channel: torchxrayvision


@dataclass(frozen=True)
class Backbone:
    """What a config has to know of a network.

    ``patch`` is the side of a ViT's patch in pixels, 0 for others; ``blocks`` how many it has, 0 where only the
    network itself knows. ``normalisation`` is None where timm's own metadata decide.
    """

    name: str
    kind: Kind
    normalisation: Normalisation | None = IMAGENET_STATISTICS
    patch: int = 0
    blocks: int = 0

    @property
    def timm_name(self) -> str:
        """timm's name of the network; empty for those of torchvision."""
        return self.name.removeprefix(TIMM) if self.name.startswith(TIMM) else ""

    @property
    def multiple(self) -> int:
        """The side of the canonical image must be a multiple of this, in pixels."""
        return self.patch or 32

    @property
    def usual_layers(self) -> str:
        """What ``layers`` becomes with this backbone where the layers so far are not its own."""
        return LAST if self.kind == "tokens" else "layer2+layer3"

    @property
    def layers_in_words(self) -> str:
        if self.kind != "tokens":
            return "stages in order, such as layer2+layer3"
        if not self.blocks:
            return "blocks in order, counted from block0, such as block8+block11, or last"
        final = self.blocks - 1
        return f"blocks in order, from block0 to block{final}, such as block{final - 3}+block{final}, or last"

    def has_layers(self, names: tuple[str, ...]) -> bool:
        """Whether the names are layers of this backbone, each once and in order."""
        if self.kind != "tokens":
            return all(name in LAYERS for name in names) and sorted(set(names)) == list(names)
        at = [self._block(name) for name in names]
        known = all(a is not None and (a < self.blocks or not self.blocks) for a in at[:-1])
        final = names[-1] == LAST or (at[-1] is not None and (at[-1] < self.blocks or not self.blocks))
        numbers = [a for a in at if a is not None]
        repeated = names[-1] == LAST and self.blocks > 0 and self.blocks - 1 in numbers
        return known and final and numbers == sorted(set(numbers)) and not repeated

    @staticmethod
    def _block(name: str) -> int | None:
        return int(name.removeprefix("block")) if _BLOCK.fullmatch(name) else None

    def stride(self, layer: str) -> int:
        """Side of a patch of this layer's map in canonical pixels."""
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
    """The backbone of a config's name: one of the table, or ``timm:NAME`` for any network of timm.

    Of a name outside the table only the form is checked here; whether timm has it shows where the network is
    built. Raises InvalidConfig.
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
    if patch and int(patch[1]) >= 8:  # below that it is a pyramid, such as Swin's
        return Backbone(name, "tokens", None, patch=int(patch[1]))
    return Backbone(name, "stages", None)
