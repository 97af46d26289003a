"""DenseNet-121 in torch alone, with torchvision's names of tensors and its untrained weights.

Huang et al. 2017, with bottlenecks and compression (DenseNet-BC). torchxrayvision's network is the same with one input
channel and 18 findings (Cohen et al. 2022).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

BLOCKS = (6, 12, 24, 16)  # dense layers of each block
GROWTH, BOTTLENECK, STEM, CLASSES = 32, 128, 64, 1000  # channels


class DenseLayer(nn.Module):
    """Normalisation, ReLU and convolution, 1 x 1 and then 3 x 3: adds `GROWTH` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, BOTTLENECK, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(BOTTLENECK), nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.norm1(x), inplace=True))
        y: Tensor = self.conv2(F.relu(self.norm2(x), inplace=True))
        return y


class DenseBlock(nn.Sequential):
    """Each layer gets the maps of all layers before it."""

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.children():
            maps.append(layer(torch.cat(maps, 1)))
        return torch.cat(maps, 1)


class DenseNet121(nn.Module):
    """The whole network."""

    def __init__(self, *, classes: int = CLASSES) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(3, STEM, 7, stride=2, padding=3, bias=False),
            "norm0": nn.BatchNorm2d(STEM),
            "relu0": nn.ReLU(inplace=True),
            "pool0": nn.MaxPool2d(3, stride=2, padding=1),
        }
        channels = STEM
        for number, layers in enumerate(BLOCKS, start=1):
            named = {f"denselayer{k + 1}": DenseLayer(channels + k * GROWTH) for k in range(layers)}
            parts[f"denseblock{number}"] = DenseBlock(OrderedDict(named))
            channels += layers * GROWTH
            if number < len(BLOCKS):
                parts[f"transition{number}"] = _transition(channels)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(OrderedDict(parts))
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # drawing there loads torch._dynamo
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, C, S, S), normalised, the logits (B, classes)."""
        x = F.relu(self.features(x), inplace=True)
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _transition(channels: int) -> nn.Sequential:
    """Halves channels and map."""
    parts: dict[str, nn.Module] = {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(inplace=True),
        "conv": nn.Conv2d(channels, channels // 2, 1, bias=False),
        "pool": nn.AvgPool2d(2, stride=2),
    }
    return nn.Sequential(OrderedDict(parts))
