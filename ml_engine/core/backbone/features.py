"""Patch features of a frozen backbone (paper, section 3, Fig. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core import architectures
from ml_engine.core.backbone import networks
from ml_engine.core.backbone.networks import random_state
from ml_engine.core.config import PipelineConfig

__all__ = ["FeatureExtractor", "random_state"]


class FeatureExtractor:
    """Gray canonical films to the features of their patches.

    Gray is repeated to the channels that the backbone takes [o]; each layer's map gets its own 3 x 3 average [i];
    deeper maps are then up-sampled bilinearly to the first one's grid and concatenated [s]. The trunk ends at
    the last layer used (`networks.trunk`).
    """

    def __init__(self, config: PipelineConfig, state: dict[str, Tensor], device: torch.device) -> None:
        """``state`` holds the backbone's tensors by its library's names (`weights.load_backbone`)."""
        self.config, self.device = config, device
        backbone = architectures.find(config.backbone)
        network = networks.build(config.backbone)
        network.load_state_dict(state, strict=True)
        scale = networks.normalisation(backbone, network)
        self.trunk = networks.trunk(network, config).to(device).to(memory_format=torch.channels_last)
        self.mean = torch.tensor(scale.mean, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(scale.std, device=device).view(1, -1, 1, 1)
        # a CPU adds up the last rows of a batch's matrices in another order: in timm's networks that shows
        self.is_one_by_one = device.type == "cpu" and bool(backbone.timm_name)

    @torch.inference_mode()
    def grids(self, films: Tensor) -> Tensor:
        """Features on the patch grid, float32 (B, D, h, w), of films (B, 1, S, S) float32 in [0, 1]."""
        x = (films.to(self.device).expand(-1, self.mean.shape[1], -1, -1) - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        maps = [_average(layer, self.config.pool) for layer in self._layers(x)]
        first = maps[0]
        same = [first] + [
            F.interpolate(m, size=first.shape[-2:], mode="bilinear", align_corners=False) for m in maps[1:]
        ]
        return torch.cat(same, 1)

    def _layers(self, x: Tensor) -> list[Tensor]:
        if not self.is_one_by_one:
            found: list[Tensor] = self.trunk(x)
            return found
        films = [self.trunk(film) for film in x.split(1)]
        return [torch.cat(maps) for maps in zip(*films, strict=True)]

    def patches(self, films: Tensor, places: Tensor) -> Tensor:
        """Features of the patches at ``places`` (P, 2), float32 (B, P, D) on the CPU.

        The backbone always sees ``config.batch`` films, the last batch filled up with black ones, or one film
        at a time, so that a film's features do not depend on how many others there are, nor on its place among them.
        """
        found = []
        for part in films.split(self.config.batch):
            missing = 0 if self.is_one_by_one else self.config.batch - len(part)
            full = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
            grid = self.grids(full)[: len(part)]
            found.append(grid[:, :, places[:, 0], places[:, 1]].transpose(1, 2).contiguous().cpu())
        return torch.cat(found)


def _average(maps: Tensor, pool: int) -> Tensor:
    """The mean over a pool x pool neighbourhood, of the pixels inside the map only."""
    return F.avg_pool2d(maps, pool, stride=1, padding=pool // 2, count_include_pad=False)
