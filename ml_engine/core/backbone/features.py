"""Patch features from a frozen backbone (paper, section 3, Fig. 3, and section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core import architectures
from ml_engine.core.backbone import networks
from ml_engine.core.backbone.feature_file import as_kept
from ml_engine.core.backbone.networks import random_state
from ml_engine.core.config import PipelineConfig

__all__ = ["FeatureExtractor", "random_state"]


class FeatureExtractor:
    """Extracts the features of the patches of gray canonical films.

    The gray channel is repeated for each channel of the backbone (our choice; the paper is silent). Each layer's map
    is averaged over ``pool`` x ``pool`` neighbourhoods (inferred from the PatchCore code), then deeper maps are
    up-sampled bilinearly to the grid of the first and all are concatenated: in the paper 28 x 28 x 512 and
    14 x 14 x 1024 give 28 x 28 x 1536. The network ends at the last layer used (`networks.trunk`).
    """

    def __init__(self, config: PipelineConfig, state: dict[str, Tensor], device: torch.device) -> None:
        """``state`` holds the backbone's tensors by the names of its library (`weights.load_backbone`).

        Raises RuntimeError where they do not fit the backbone.
        """
        self.config, self.device = config, device
        backbone = architectures.find(config.backbone)
        network = networks.build(config.backbone, grid=networks.own_grid(config.backbone, state))
        network.load_state_dict(state, strict=True)
        scale = networks.normalisation(backbone, network)
        self.dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        trunk = networks.trunk(network, config)  # normalisation is folded in float32, and rounded once
        self.trunk = trunk.to(device, self.dtype).to(memory_format=torch.channels_last)
        self.mean = torch.tensor(scale.mean, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(scale.std, device=device).view(1, -1, 1, 1)
        # on a CPU the summation order depends on the place in the batch, which changes the features of timm's networks;
        # EfficientNet-Lite is faster by the film: 15 ms on one core at 224 pixels, 24 ms in batches of 8
        self.is_one_by_one = device.type == "cpu" and bool(backbone.timm_name or backbone.kind == "lite")

    @torch.inference_mode()
    def grids(self, films: Tensor) -> Tensor:
        """Features on the patch grid, float32 (B, D, h, w), of canonical films float32 (B, 1, S, S) in [0, 1]."""
        x = (films.to(self.device).expand(-1, self.mean.shape[1], -1, -1) - self.mean) / self.std
        x = x.to(self.dtype, memory_format=torch.channels_last)
        maps = [
            _average(layer.float(), self.config.pool, is_padding_counted=self.config.pool_padding == "counted")
            for layer in self._layers(x)
        ]
        first = maps[0]
        upsampled = [first] + [
            F.interpolate(m, size=first.shape[-2:], mode="bilinear", align_corners=False) for m in maps[1:]
        ]
        return torch.cat(upsampled, 1)

    def _layers(self, x: Tensor) -> list[Tensor]:
        if not self.is_one_by_one:
            batch: list[Tensor] = self.trunk(x)
            return batch
        films = [self.trunk(film) for film in x.split(1)]
        return [torch.cat(maps) for maps in zip(*films, strict=True)]

    def patches(self, films: Tensor, places: Tensor) -> Tensor:
        """Features of the patches at ``places`` int64 (P, 2), float32 (B, P, D) on the CPU, of films (B, 1, S, S).

        Where they are kept in half precision they are rounded to it, so that a film scores the same from kept features.

        The backbone always gets ``config.batch`` films, the last batch being filled up with black ones, or a single
        film, so that the features of a film do not depend on the number of other films or its place among them.
        """
        features = []
        for part in films.split(self.config.batch):
            missing = 0 if self.is_one_by_one else self.config.batch - len(part)
            full = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
            grid = self.grids(full)[: len(part)]
            patches = grid[:, :, places[:, 0], places[:, 1]].transpose(1, 2).contiguous().cpu()
            features.append(as_kept(patches) if self.config.keeps_half else patches)
        return torch.cat(features)


def _average(maps: Tensor, pool: int, *, is_padding_counted: bool) -> Tensor:
    """The mean over a pool x pool neighbourhood; same shape (B, D, h, w).

    At the edge the positions outside the map count as zeros, as both published codes of the method count them, or not
    at all.
    """
    return F.avg_pool2d(maps, pool, stride=1, padding=pool // 2, count_include_pad=is_padding_counted)
