"""ResNets in torch alone, with torchvision's names of tensors and its untrained weights.

He et al. 2016, with the stride of a bottleneck in its 3 x 3 convolution, and Wide ResNets (Zagoruyko and Komodakis
2016), whose bottlenecks are twice as wide. Importing torchvision would load torch._dynamo and triton: a second and
150 MiB in every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

CLASSES = 1000
STEM = 64  # channels


@dataclass(frozen=True)
class ResNetShape:
    """The number of blocks of the four layers; bottleneck blocks, or basic ones; the width of a bottleneck's 3 x 3
    convolution as a multiple of ResNet-50's."""

    blocks: tuple[int, int, int, int]
    is_bottleneck: bool = True
    width: int = 1


SHAPES = {
    "resnet18": ResNetShape((2, 2, 2, 2), is_bottleneck=False),
    "resnet34": ResNetShape((3, 4, 6, 3), is_bottleneck=False),
    "resnet50": ResNetShape((3, 4, 6, 3)),
    "resnet101": ResNetShape((3, 4, 23, 3)),
    "wide_resnet50_2": ResNetShape((3, 4, 6, 3), width=2),
    "wide_resnet101_2": ResNetShape((3, 4, 23, 3), width=2),
}


def _convolution(channels: int, out: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut. The modules are made in torchvision's order, which the untrained weights
    follow."""

    EXPANSION = 1

    def __init__(self, channels: int, planes: int, *, stride: int, width: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(channels, planes, 3, stride=stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _convolution(planes, planes, 3), nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += shortcut
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution, and a shortcut."""

    EXPANSION = 4

    def __init__(self, channels: int, planes: int, *, stride: int, width: int, downsample: nn.Module | None) -> None:
        super().__init__()
        inner, out = planes * width, planes * self.EXPANSION
        self.conv1, self.bn1 = _convolution(channels, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = _convolution(inner, inner, 3, stride=stride), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = _convolution(inner, out, 1), nn.BatchNorm2d(out)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y += shortcut
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    """The whole network of `SHAPES`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        shape = SHAPES[name]
        self.conv1, self.bn1 = _convolution(3, STEM, 7, stride=2), nn.BatchNorm2d(STEM)
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        channels = STEM
        for number, blocks in enumerate(shape.blocks, start=1):
            layer = _layer(channels, shape, blocks=blocks, number=number)
            self.add_module(f"layer{number}", layer)
            channels = (STEM << (number - 1)) * _block(shape).EXPANSION
        self.fc = nn.Linear(channels, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # drawing there loads torch._dynamo
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, C, S, S), normalised, the outputs of the last linear layer (B, 1000)."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        for number in range(1, 5):
            x = cast(nn.Module, getattr(self, f"layer{number}"))(x)
        outputs: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return outputs


def _block(shape: ResNetShape) -> type[BasicBlock] | type[Bottleneck]:
    return Bottleneck if shape.is_bottleneck else BasicBlock


def _layer(channels: int, shape: ResNetShape, *, blocks: int, number: int) -> nn.Sequential:
    """The layer of this number, from 1; its first block halves the map, but not in layer 1."""
    block, planes = _block(shape), STEM << (number - 1)
    out, stride = planes * block.EXPANSION, 1 if number == 1 else 2
    downsample = None
    if stride != 1 or channels != out:
        downsample = nn.Sequential(_convolution(channels, out, 1, stride=stride), nn.BatchNorm2d(out))
    first = block(channels, planes, stride=stride, width=shape.width, downsample=downsample)
    others = (block(out, planes, stride=1, width=shape.width, downsample=None) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)
