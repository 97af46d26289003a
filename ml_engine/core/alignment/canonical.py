"""The canonical image (paper, section 3.1, Fig. 6), and the gauge that keeps its frame from drifting."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ml_engine.core.alignment.batches import spans
from ml_engine.core.alignment.sampling import join, sample, sample_valid

BATCH = 32


class Canonical(NamedTuple):
    """``image`` float32 (1, 1, S, S) in [0, 1]; ``support`` likewise, 1.0 where enough films have pixels."""

    image: Tensor
    support: Tensor


def mean_of_aligned(films: Tensor, valid: Tensor, thetas: Tensor) -> Canonical:
    """The mean of the films (N, 1, S, S), aligned by ``thetas`` (N, 2, 3), or (N, 3, 3) for perspective.

    ``valid`` is float (N, 1, S, S), 1 inside the films. Sampling is bicubic, as the paper states. Each pixel is the
    mean over the films that cover it; where fewer than a tenth of the films do, mean and support are 0.
    """
    total, count = torch.zeros_like(films[:1]), torch.zeros_like(films[:1])
    for part in spans(len(films), BATCH):
        weight = sample_valid(valid[part], thetas[part])
        aligned = sample(films[part], thetas[part], mode="bicubic").clamp(0, 1)
        total += (aligned * weight).sum(0, keepdim=True)
        count += weight.sum(0, keepdim=True)
    support = (count >= max(1.0, 0.1 * len(films))).to(films.dtype)
    return Canonical(total / count.clamp_min(1) * support, support)


def recentred(thetas: Tensor) -> Tensor:
    """The correction (2, 3) that makes the mean of the thetas (N, 2, 3) the identity when applied by `with_gauge`.

    A groupwise alignment determines the canonical frame only up to an affine. Without the correction, the frame would
    drift in each round until the films leave it.
    """
    mean = thetas.double().mean(0)
    linear = torch.linalg.inv(mean[:, :2])
    return torch.cat([linear, -linear @ mean[:, 2:]], 1).to(thetas)


def with_gauge(thetas: Tensor, gauge: Tensor) -> Tensor:
    """The thetas (N, 2, 3) relative to the canonical frame moved by ``gauge`` (2, 3)."""
    return join(thetas, gauge.expand_as(thetas))
