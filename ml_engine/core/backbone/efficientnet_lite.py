"""EfficientNet-Lite0 and -Lite2 in torch alone, with the names of timm's ``tf_efficientnet_lite0`` and ``..._lite2``.

The networks are those of TensorFlow's TPU repository (models/official/efficientnet/lite): EfficientNet (Tan and Le
2019) without squeeze-and-excitation, with ReLU6. Their weights were trained with TensorFlow's "same" padding, which
depends on the size of the image, and come in two packages of the Python index (`published_weights`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-3  # of the batch normalisation
STEM, HEAD, CLASSES = 32, 1280, 1000  # channels; width does not scale stem and head of the Lite networks


@dataclass(frozen=True)
class LiteShape:
    """Output channels and number of blocks of the seven stages."""

    channels: tuple[int, ...]
    repeats: tuple[int, ...]


SHAPES = {
    "tf_efficientnet_lite0": LiteShape((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "tf_efficientnet_lite2": LiteShape((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}
KERNELS = (3, 3, 5, 3, 5, 5, 3)  # of the depthwise convolutions, by stage
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of a stage; the stem's is 2
EXPANSION = 6  # of every stage but the first, which has none


class SameConv(nn.Conv2d):
    """A convolution without bias, with TensorFlow's "same" padding: of an odd number, the last pixel is put behind."""

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels, out, kernel, stride=stride, padding=padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, h, w), (B, D, ceil(h / stride), ceil(w / stride))."""
        if self.stride[0] == 1:
            return super().forward(x)
        top, bottom = _padding(x.shape[-2], self.kernel_size[0], self.stride[0])
        left, right = _padding(x.shape[-1], self.kernel_size[1], self.stride[1])
        return super().forward(F.pad(x, (left, right, top, bottom)))


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """The pixels before and after."""
    whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return whole // 2, whole - whole // 2


class SeparableBlock(nn.Module):
    """Depthwise convolution, ReLU6, pointwise convolution: the only block of the first stage."""

    PAIRS = (("conv_dw", "bn1"), ("conv_pw", "bn2"))  # each convolution with the normalisation after it

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = SameConv(channels, channels, kernel, groups=channels), _norm(channels)
        self.conv_pw, self.bn2 = SameConv(channels, out, 1), _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.bn1(self.conv_dw(x)), inplace=True)
        y: Tensor = self.bn2(self.conv_pw(x))
        return y


class InvertedBlock(nn.Module):
    """Expansion, depthwise convolution and projection, with a shortcut where neither stride nor channels change."""

    PAIRS = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int) -> None:
        super().__init__()
        wide = channels * EXPANSION
        self.conv_pw, self.bn1 = SameConv(channels, wide, 1), _norm(wide)
        self.conv_dw, self.bn2 = SameConv(wide, wide, kernel, stride=stride, groups=wide), _norm(wide)
        self.conv_pwl, self.bn3 = SameConv(wide, out, 1), _norm(out)
        self.has_shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self.bn1(self.conv_pw(x)), inplace=True)
        wide = F.relu6(self.bn2(self.conv_dw(wide)), inplace=True)
        y: Tensor = self.bn3(self.conv_pwl(wide))
        return y + x if self.has_shortcut else y


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


class EfficientNetLite(nn.Module):
    """The whole network; its untrained weights are drawn as TensorFlow's are: normal, by the number of outputs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        shape = SHAPES[name]
        self.conv_stem, self.bn1 = SameConv(3, STEM, 3, stride=2), _norm(STEM)
        stages, channels = [], STEM
        for number, (out, repeats) in enumerate(zip(shape.channels, shape.repeats, strict=True)):
            stages.append(_stage(number, channels, out, repeats=repeats))
            channels = out
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = SameConv(channels, HEAD, 1), _norm(HEAD)
        self.classifier = nn.Linear(HEAD, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # drawing there loads torch._dynamo
                outputs = module.out_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
                nn.init.normal_(module.weight, std=(2 / outputs) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, 3, S, S), normalised, the logits (B, 1000)."""
        x = F.relu6(self.bn1(self.conv_stem(x)), inplace=True)
        x = F.relu6(self.bn2(self.conv_head(self.blocks(x))), inplace=True)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def _stage(number: int, channels: int, out: int, *, repeats: int) -> nn.Sequential:
    kernel, stride = KERNELS[number], STRIDES[number]
    if number == 0:
        return nn.Sequential(SeparableBlock(channels, out, kernel))
    first = InvertedBlock(channels, out, kernel, stride=stride)
    return nn.Sequential(first, *(InvertedBlock(out, out, kernel, stride=1) for _ in range(repeats - 1)))


_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1",
    "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def renamed(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of the packages' files by timm's names; other names stay as they are.

    The files number the blocks of all stages in one row.
    """
    places = [(stage, block) for stage, count in enumerate(SHAPES[name].repeats) for block in range(count)]
    return {_renamed(key, places): value for key, value in tensors.items()}


def _renamed(key: str, places: list[tuple[int, int]]) -> str:
    parts = key.split(".")
    if parts[0] != "_blocks":
        return ".".join([_OUTSIDE.get(parts[0], parts[0]), *parts[1:]])
    if len(parts) < 4 or not parts[1].isdecimal() or int(parts[1]) >= len(places):
        return key
    stage, block = places[int(parts[1])]
    names = _INVERTED if stage else _SEPARABLE
    return ".".join(["blocks", str(stage), str(block), names.get(parts[2], parts[2]), *parts[3:]])
