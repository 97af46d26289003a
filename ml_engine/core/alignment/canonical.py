"""The canonical image, and the gauge that keeps it in place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ml_engine.core.alignment.batches import spans
from ml_engine.core.alignment.sampling import join, sample, sample_valid

BATCH = 32


class Canonical(NamedTuple):
    """``image`` float32 (1, 1, S, S) in [0, 1], and ``support`` float32: 1.0 where enough films lie."""

    image: Tensor
    support: Tensor


def mean_of_aligned(films: Tensor, valid: Tensor, thetas: Tensor) -> Canonical:
    """The mean of the films (N, 1, S, S), aligned by ``thetas`` (N, 2, 3) with bicubic sampling [s].

    Each pixel is averaged over the films that have it; where fewer than a tenth of the films have it, the
    mean is 0 and the support ends.
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
    """The correction (2, 3) that, joined after every theta (N, 2, 3), makes their mean the identity.

    A groupwise alignment knows the canonical frame only up to one affine; without this the frame drifts
    a little in each round, until the films leave it.
    """
    mean = thetas.double().mean(0)
    linear = torch.linalg.inv(mean[:, :2])
    return torch.cat([linear, -linear @ mean[:, 2:]], 1).to(thetas)


def with_gauge(thetas: Tensor, gauge: Tensor) -> Tensor:
    """The thetas (N, 2, 3) seen from the frame that ``gauge`` (2, 3) puts in the canonical's place."""
    return join(thetas, gauge.expand_as(thetas))
