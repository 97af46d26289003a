"""The network Φ_A that predicts six affine parameters (paper, section 3.1, Eq. 2-4)."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
from torch import Tensor

from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.resnet import ResNet

# Bounds of the residual: shift as a share of half the frame, natural logarithm of the scale, angle in radians, shear.
BOUNDS = {"shift": 0.5, "log_scale": 0.4, "angle": math.radians(30), "shear": 0.2}


class AlignmentNetwork(nn.Module):
    """Predicts thetas (B, 2, 3), canonical [-1, 1] to film [-1, 1], of gray films float32 (B, 1, S, S) in [0, 1].

    A ResNet with average pooling throughout, a head without bias and a sigmoid, as the paper states. For a method that
    does not use it, no ResNet is built. ``low`` and ``high`` (6,) are the frozen minimum and maximum of Y0 for each
    parameter (Eq. 3).
    """

    low: Tensor
    high: Tensor

    def __init__(self, config: AlignmentConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.initialisation, self.alpha = config.initialisation, config.alpha
        self.register_buffer("low", torch.zeros(6))
        self.register_buffer("high", torch.ones(6))
        if config.uses_network:
            self._build(config, generator)

    def _build(self, config: AlignmentConfig, generator: torch.Generator) -> None:
        with torch.random.fork_rng(devices=[]):  # the layers initialise weights that are drawn again below
            self.backbone = ResNet(config.backbone)
            self.backbone.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
            self.backbone.fc = nn.Linear(self.backbone.fc.in_features, 6, bias=False)
        self.backbone.maxpool = nn.AvgPool2d(kernel_size=3, stride=2, padding=1)
        self._draw_weights(generator)

    def _draw_weights(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        fc = self.backbone.fc
        nn.init.kaiming_uniform_(fc.weight, a=math.sqrt(5), generator=generator)
        if self.initialisation == "residual-bounded":
            nn.init.zeros_(fc.weight)  # the last layer only: the others need their gradients

    def outputs(self, films: Tensor) -> Tensor:
        """The six raw outputs in (0, 1), float32 (B, 6): the f(x) of Eq. 3."""
        return torch.sigmoid(self.backbone(films - 0.5))

    def forward(self, films: Tensor) -> Tensor:
        return self.theta(self.outputs(films))

    def theta(self, outputs: Tensor) -> Tensor:
        """The theta (B, 2, 3) for outputs in (0, 1), (B, 6), by the configured initialisation (Eq. 4).

        As printed ("paper"), every initial offset from the identity lies in [0, 1/alpha].
        """
        if self.initialisation == "residual-bounded":
            return residual_theta(2 * outputs - 1)
        offset = outputs - self.low
        if self.initialisation == "centred":
            offset = outputs - (self.low + self.high) / 2
        spread = (self.high - self.low) * self.alpha
        return (offset / spread).reshape(-1, 2, 3) + torch.eye(2, 3, device=outputs.device)

    def freeze_range(self, outputs: Tensor) -> None:
        """Store the minimum and maximum of Y0 (N, 6) for each parameter (Eq. 3). A range of 0 becomes 1e-6."""
        low, high = outputs.amin(0), outputs.amax(0)
        self.low.copy_(low)
        self.high.copy_(torch.maximum(high, low + 1e-6))


def residual_theta(unit: Tensor) -> Tensor:
    """The theta (B, 2, 3) for six values in [-1, 1], (B, 6): the identity at 0, bounded by `BOUNDS`.

    The values are shift x, shift y, log-scale x, log-scale y, angle, shear; theta is rotation · shear · scale, then the
    shift. Its determinant is always positive. Our choice for preset ``default``.
    """
    shift = unit[:, 0:2] * BOUNDS["shift"]
    scale = torch.exp(unit[:, 2:4] * BOUNDS["log_scale"])
    angle, shear = unit[:, 4] * BOUNDS["angle"], unit[:, 5] * BOUNDS["shear"]
    cos, sin = torch.cos(angle), torch.sin(angle)
    x = torch.stack([cos * scale[:, 0], (cos * shear - sin) * scale[:, 1], shift[:, 0]], -1)
    y = torch.stack([sin * scale[:, 0], (sin * shear + cos) * scale[:, 1], shift[:, 1]], -1)
    return torch.stack([x, y], 1)
