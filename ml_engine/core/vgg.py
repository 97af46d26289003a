"""VGG19 in torch alone, with torchvision's names of tensors: of the alignment's perceptual loss.

Simonyan and Zisserman 2015, configuration E, without batch normalisation.
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn

NAME = "vgg19"
BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and convolutions; each ends with a pooling
RELU5_4 = 36  # features[:36] ends with relu5_4
CLASSES = 1000


def vgg19_layers() -> nn.Sequential:
    """All convolutions with their ReLU and pooling: torchvision's ``features``."""
    layers: list[nn.Module] = []
    channels = 3
    for out, convolutions in BLOCKS:
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
            channels = out
        layers.append(nn.MaxPool2d(2, stride=2))
    return nn.Sequential(*layers)


def vgg19() -> nn.Module:
    """The whole network, of which a file holds all tensors; on the meta device, since it has 144 million of them."""
    classifier = [nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout()]
    classifier += [nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, CLASSES)]
    parts = {"features": vgg19_layers(), "pool": nn.AdaptiveAvgPool2d(7), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts | {"classifier": nn.Sequential(*classifier)}))
