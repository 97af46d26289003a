"""The backbones as torch modules: built without weights and cut after the last layer used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import torch
import torch.nn as nn
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ml_engine.core import architectures, resnet, vgg
from ml_engine.core.architectures import LAST, LAYERS, TIMM, XRV, Backbone, Normalisation
from ml_engine.core.backbone import efficientnet_lite
from ml_engine.core.backbone.densenet import DenseNet121
from ml_engine.core.backbone.efficientnet_lite import EfficientNetLite, InvertedBlock, SeparableBlock
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import InvalidConfig
from ml_engine.core.resnet import ResNet

XRV_FINDINGS = 18  # outputs of torchxrayvision's classifier


def build(name: str, *, seed: int | None = None, grid: int = 0) -> nn.Module:
    """The untrained network of an architecture; with a ``seed`` its initialisation is that of its library. ``grid`` is
    that of a ViT's position embedding if it is not its library's (`own_grid`).

    The global random state does not change, and nothing is downloaded. Raises InvalidConfig for a network that timm
    does not have, and where timm is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return _create(name, grid)


def on_meta(name: str) -> nn.Module:
    """The network on the meta device: names and shapes without memory for its tensors. Raises InvalidConfig as `build`
    does."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return _create(name)


def own_grid(name: str, tensors: Mapping[str, Tensor]) -> int:
    """The side, in patches, of the position embedding of a ViT's file where it is not that of its library; else 0.

    Such a file was trained at another size: OmniRad's at 224 pixels, where timm's DINOv2 takes 518.
    """
    theirs = tensors.get("pos_embed")
    if not name.startswith(TIMM) or theirs is None:
        return 0
    network = on_meta(name)
    ours = network.state_dict().get("pos_embed")
    if ours is None or theirs.shape == ours.shape or theirs.ndim != 3 or theirs.shape[::2] != ours.shape[::2]:
        return 0
    rows, columns = cast(Any, network).patch_embed.grid_size
    others = ours.shape[1] - rows * columns  # class and register tokens
    side = math.isqrt(max(0, theirs.shape[1] - others))
    return side if side > 1 and side * side + others == theirs.shape[1] else 0


def random_state(name: str, seed: int) -> dict[str, Tensor]:
    """The weights called ``random``: the initialisation by the network's library with a seed."""
    return build(name, seed=seed).state_dict()


def _create(name: str, grid: int = 0) -> nn.Module:
    if name.startswith(TIMM):
        return _create_timm(name, grid)
    if name == XRV:
        return _create_xrv()
    if name in efficientnet_lite.SHAPES:
        return EfficientNetLite(name)
    if name in resnet.SHAPES:
        return ResNet(name)
    return {"densenet121": DenseNet121, vgg.NAME: vgg.vgg19}[name]()


def _create_xrv() -> nn.Module:
    """torchxrayvision's DenseNet-121: one input channel and 18 findings (Cohen et al. 2022)."""
    network = DenseNet121(classes=XRV_FINDINGS)
    first = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(first.weight)
    network.features.conv0 = first
    return network


def _create_timm(name: str, grid: int) -> nn.Module:
    """The network without its classifier. ``pretrained`` stays False, so that timm downloads nothing."""
    timm = _timm(name)
    wanted = name.removeprefix(TIMM)
    is_tagged = "." in wanted  # a tag names a set of weights, and with it the normalisation
    if not (wanted in timm.list_models(pretrained=True) if is_tagged else timm.is_model(wanted)):
        near = get_close_matches(wanted, timm.list_models(pretrained=is_tagged), n=3)
        hint = f"; near it are {', '.join(TIMM + match for match in near)}" if near else ""
        raise InvalidConfig(f"backbone is {name!r}: timm {timm.__version__} has no network of this name{hint}.")
    size = {"img_size": grid * architectures.find(name).patch} if grid else {}
    return cast(nn.Module, timm.create_model(wanted, pretrained=False, num_classes=0, **size))


def _timm(name: str) -> ModuleType:
    try:
        return import_module("timm")
    except ModuleNotFoundError:
        raise InvalidConfig(
            f"backbone is {name!r}, and the package timm is not installed here: run pip install timm, or "
            "choose a backbone of torchvision, such as wide_resnet50_2."
        ) from None


def normalisation(backbone: Backbone, network: nn.Module) -> Normalisation:
    """The normalisation from the table of backbones, or from timm's metadata where the table has none."""
    if backbone.normalisation is not None:
        return backbone.normalisation
    facts = cast(dict[str, Any], network.pretrained_cfg)
    return Normalisation(tuple(facts["mean"]), tuple(facts["std"]))


class Stages(nn.Sequential):
    """Named parts applied in sequence; returns the maps after those named in ``layers``, in order."""

    def __init__(self, parts: dict[str, nn.Module], layers: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> list[Tensor]:
        """From (B, C, S, S), a map (B, D, h, w) for each layer."""
        maps = []
        for name, part in self.named_children():
            x = part(x)
            if name in self.layers:
                maps.append(x)
        return maps


class Intermediates(nn.Module):
    """timm's intermediate maps at ``indices``. For a ViT, the tokens of a block as a map, without class and register
    tokens and after the network's final normalisation (our choice), so that the last block's map is its output."""

    def __init__(self, network: nn.Module, indices: list[int], **options: bool) -> None:
        super().__init__()
        self.network, self.indices, self.options = network, indices, options

    def forward(self, x: Tensor) -> list[Tensor]:
        """From (B, C, S, S), a map (B, D, h, w) for each index."""
        intermediates = cast(Any, self.network).forward_intermediates
        maps = intermediates(x, indices=self.indices, intermediates_only=True, stop_early=True, **self.options)
        return list(maps)


def trunk(network: nn.Module, config: PipelineConfig) -> nn.Module:
    """The frozen network up to the last layer of ``config``, for films of the config's size.

    Called with (B, C, S, S), it returns a list of maps (B, D, h, w), one for each layer. In all networks but
    timm's, batch normalisation that follows a convolution is folded into it. Raises InvalidConfig for a layer that
    the network does not have.
    """
    backbone = architectures.find(config.backbone)
    network = network.eval()
    if backbone.kind == "resnet":
        cut: nn.Module = _resnet(network, config.layer_names)
    elif backbone.kind == "densenet":
        cut = _densenet(network, config.layer_names)
    elif backbone.kind == "lite":
        cut = _lite(network, config.layer_names)
    elif backbone.kind == "tokens":
        cut = _tokens(network, config, backbone)
    else:
        cut = _stages(network, config)
    return cut.requires_grad_(False)


def require(config: PipelineConfig) -> None:
    """Check that the backbone is available, has the layers and gives a grid of ``config.patches`` patches a side.

    A film is passed through it on the meta device, which computes shapes only. Raises InvalidConfig.
    """
    if not config.backbone.startswith(TIMM):
        return  # those of torchvision are checked by the tests
    network = on_meta(config.backbone)
    channels = len(normalisation(architectures.find(config.backbone), network).mean)
    with torch.inference_mode():
        maps = trunk(network, config)(torch.empty(1, channels, config.size, config.size, device="meta"))
    for layer, layer_map in zip(config.layer_names, maps, strict=True):
        side = config.size // architectures.find(config.backbone).stride(layer)
        if layer_map.shape[-2:] != (side, side):
            shape = tuple(layer_map.shape)
            raise _unusable(config, f"its map {layer} has the shape {shape}, not {side} x {side} patches")


def _unusable(config: PipelineConfig, why: str) -> InvalidConfig:
    return InvalidConfig(
        f"backbone is {config.backbone!r}, which cannot be used for patch features: {why}. Choose another network, "
        "such as timm:convnext_tiny or timm:vit_small_patch14_dinov2."
    )


def _resnet(network: nn.Module, layers: tuple[str, ...]) -> Stages:
    parts: dict[str, nn.Module] = {
        "stem": nn.Sequential(
            _folded(network.conv1, network.bn1),
            nn.ReLU(inplace=True),
            _child(network, "maxpool"),
        )
    }
    for name in LAYERS[: LAYERS.index(layers[-1]) + 1]:
        for block in _child(network, name).children():
            _fold_block(block)
        parts[name] = _child(network, name)
    return Stages(parts, layers)


def _fold_block(block: nn.Module) -> None:
    for index in "123":
        if hasattr(block, f"conv{index}"):
            fused = _folded(getattr(block, f"conv{index}"), getattr(block, f"bn{index}"))
            setattr(block, f"conv{index}", fused)
            setattr(block, f"bn{index}", nn.Identity())
    if block.downsample is not None:
        pair = cast(nn.Sequential, block.downsample)
        block.downsample = nn.Sequential(_folded(pair[0], pair[1]))


def _densenet(network: nn.Module, layers: tuple[str, ...]) -> Stages:
    """Layer k is the output of dense block k, before the transition halves its size.

    Only batch normalisation directly after a convolution can be folded, which the first of each dense layer is not.
    """
    features = _child(network, "features")
    stem = [_folded(features.conv0, features.norm0), _child(features, "relu0"), _child(features, "pool0")]
    parts: dict[str, nn.Module] = {"stem": nn.Sequential(*stem)}
    for number, name in enumerate(LAYERS[: LAYERS.index(layers[-1]) + 1], start=1):
        block = _child(features, f"denseblock{number}")
        for layer in block.children():
            layer.conv1, layer.norm2 = _folded(layer.conv1, layer.norm2), nn.Identity()
        if number > 1:
            parts[f"transition{number - 1}"] = _child(features, f"transition{number - 1}")
        parts[name] = block
    return Stages(parts, layers)


def _lite(network: nn.Module, layers: tuple[str, ...]) -> Stages:
    """Layer 1 to 4 are the second, third, fifth and seventh stage: the last ones of their strides."""
    first, second, third, *others = _child(network, "blocks").children()
    stem = nn.Sequential(_folded(network.conv_stem, network.bn1), nn.ReLU6(inplace=True))
    parts = {
        "stem": nn.Sequential(stem, first),
        "layer1": second,
        "layer2": third,
        "layer3": nn.Sequential(*others[:2]),
        "layer4": nn.Sequential(*others[2:]),
    }
    used = {name: parts[name] for name in ("stem", *LAYERS[: LAYERS.index(layers[-1]) + 1])}
    for block in (module for part in used.values() for module in part.modules()):
        if isinstance(block, SeparableBlock | InvertedBlock):
            for convolution, norm in block.PAIRS:
                setattr(block, convolution, _folded(getattr(block, convolution), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return Stages(used, layers)


def _stages(network: nn.Module, config: PipelineConfig) -> Intermediates:
    """timm's convolutional networks: layer 1, 2, 3 and 4 are the last stage with a stride of 4, 8, 16 and 32."""
    if not hasattr(network, "forward_intermediates"):
        raise _unusable(config, "timm gives no access to its intermediate maps")
    strides = [fact["reduction"] for fact in cast(Any, network).feature_info]
    wanted = [4 << LAYERS.index(name) for name in config.layer_names]
    missing = [stride for stride in wanted if stride not in strides]
    if missing:
        raise _unusable(config, f"it has no stage with a stride of {missing[0]} pixels")
    indices = [len(strides) - 1 - strides[::-1].index(stride) for stride in wanted]
    return Intermediates(network, indices)


def _tokens(network: nn.Module, config: PipelineConfig, backbone: Backbone) -> Intermediates:
    """A ViT for films of the config's size; timm interpolates its position embedding once, bicubically."""
    if not all(hasattr(network, name) for name in ("forward_intermediates", "set_input_size", "blocks")):
        raise _unusable(config, "its tokens cannot be arranged as a map at every size")
    blocks = len(cast(nn.Sequential, network.blocks))
    indices = [blocks - 1 if name == LAST else int(name.removeprefix("block")) for name in config.layer_names]
    if indices[-1] >= blocks or len(set(indices)) < len(indices):
        raise InvalidConfig(
            f"layers is {config.layers!r}: {backbone.name} has the blocks block0 to block{blocks - 1}, each at most "
            "once; write some of them in order, or last."
        )
    cast(Any, network).set_input_size(img_size=(config.size, config.size))
    return Intermediates(network, indices, norm=True)


def _folded(convolution: object, normalisation: object) -> nn.Module:
    return fuse_conv_bn_eval(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, normalisation))


def _child(module: nn.Module, name: str) -> nn.Module:
    return cast(nn.Module, getattr(module, name))
