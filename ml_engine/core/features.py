"""Patch features of a frozen ImageNet backbone (paper, section 3, Fig. 3)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ml_engine.core.config import PipelineConfig

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, with which the weights were trained


class FeatureExtractor:
    """Gray canonical films to the features of their patches.

    Gray is repeated to three channels [o]; each layer's map gets its own 3 x 3 average [i]; deeper maps are
    then up-sampled bilinearly to the first one's grid and concatenated [s]. Batch normalisation is folded
    into the convolutions and the trunk ends at the last layer used.
    """

    def __init__(self, config: PipelineConfig, state: dict[str, Tensor], device: torch.device) -> None:
        """``state`` holds the backbone's tensors by torchvision's names (`weights.load_backbone`)."""
        self.config, self.device = config, device
        network = build_backbone(config.backbone)
        network.load_state_dict(state, strict=True)
        self.stages = _trunk(network.eval(), config.layer_names).to(device).to(memory_format=torch.channels_last)
        self.mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(STD, device=device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def grids(self, films: Tensor) -> Tensor:
        """Features on the patch grid, float32 (B, D, h, w), of films (B, 1, S, S) float32 in [0, 1]."""
        x = (films.to(self.device).expand(-1, 3, -1, -1) - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        maps = []
        for name, stage in self.stages.named_children():
            x = stage(x)
            if name in self.config.layer_names:
                maps.append(_average(x, self.config.pool))
        first = maps[0]
        same = [first] + [
            F.interpolate(m, size=first.shape[-2:], mode="bilinear", align_corners=False) for m in maps[1:]
        ]
        return torch.cat(same, 1)

    def patches(self, films: Tensor, places: Tensor) -> Tensor:
        """Features of the patches at ``places`` (P, 2), float32 (B, P, D) on the CPU.

        The backbone always sees ``config.batch`` films, the last batch filled up with black ones, so that a
        film's features do not depend on how many others there are.
        """
        found = []
        for part in films.split(self.config.batch):
            missing = self.config.batch - len(part)
            full = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
            grid = self.grids(full)[: len(part)]
            found.append(grid[:, :, places[:, 0], places[:, 1]].transpose(1, 2).contiguous().cpu())
        return torch.cat(found)


def _average(maps: Tensor, pool: int) -> Tensor:
    """The mean over a pool x pool neighbourhood, of the pixels inside the map only."""
    return F.avg_pool2d(maps, pool, stride=1, padding=pool // 2, count_include_pad=False)


def build_backbone(name: str) -> nn.Module:
    """The torchvision network without weights worth having; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        return cast(nn.Module, torchvision.models.get_model(name, weights=None))


def random_state(name: str, seed: int) -> dict[str, Tensor]:
    """torchvision's own initialisation of the network under a seed: the weights called ``random``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cast(nn.Module, torchvision.models.get_model(name, weights=None))
    return network.state_dict()


def _trunk(network: nn.Module, layers: tuple[str, ...]) -> nn.Sequential:
    """Stem and stages up to the last layer used, batch normalisation folded into the convolutions."""
    stem = nn.Sequential(
        _folded(network.conv1, network.bn1),
        nn.ReLU(inplace=True),
        _child(network, "maxpool"),
    )
    trunk = nn.Sequential()
    trunk.add_module("stem", stem)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        for block in _child(network, name).children():
            _fold_block(block)
        trunk.add_module(name, _child(network, name))
        if name == layers[-1]:
            break
    return trunk.requires_grad_(False)


def _fold_block(block: nn.Module) -> None:
    for index in "123":
        if hasattr(block, f"conv{index}"):
            fused = _folded(getattr(block, f"conv{index}"), getattr(block, f"bn{index}"))
            setattr(block, f"conv{index}", fused)
            setattr(block, f"bn{index}", nn.Identity())
    if block.downsample is not None:
        pair = cast(nn.Sequential, block.downsample)
        block.downsample = nn.Sequential(_folded(pair[0], pair[1]))


def _folded(convolution: object, normalisation: object) -> nn.Module:
    return fuse_conv_bn_eval(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, normalisation))


def _child(module: nn.Module, name: str) -> nn.Module:
    return cast(nn.Module, getattr(module, name))
