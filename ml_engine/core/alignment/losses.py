"""The losses between aligned films and the canonical image: the paper's three (section 3.1, Fig. 7) and a local NCC.

Images are float (B, 1, S, S) in [0, 1]; ``weight`` is float (B, 1, S, S), 1 where a pixel counts and 0 elsewhere. Each
loss has one value per film, (B,).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import torch
import torch.nn as nn
from torch import Tensor

from ml_engine.core import vgg
from ml_engine.core.errors import IncompatibleModel

BAND = 32  # rows of a filter's matrix at once
C1, C2 = 0.01**2, 0.03**2  # SSIM's constants for a data range of 1


def constancy(film: Tensor, canonical: Tensor, weight: Tensor) -> Tensor:
    """The constancy loss: the mean absolute difference (L1 is inferred; the paper gives no formula)."""
    return weighted_mean((film - canonical).abs(), weight)


def reversed_ssim(film: Tensor, canonical: Tensor, weight: Tensor) -> Tensor:
    """The reversed SSIM loss: 1 - SSIM, in [0, 2]. The window is that of `ssim_map`; the paper gives none."""
    return 1 - weighted_mean(ssim_map(film, canonical), weight)


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM at each pixel, (B, 1, S, S), in [-1, 1] (Wang et al. 2004).

    The window is a Gaussian of 11 x 11 pixels with sigma 1.5; edges are mirrored.
    """
    mean_a, mean_b, aa, bb, ab = (gaussian_blur(image, sigma=1.5, radius=5) for image in (a, b, a * a, b * b, a * b))
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    ssim: Tensor = ((2 * mean_a * mean_b + C1) * (2 * cov + C2)) / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))
    return ssim


def reversed_local_ncc(film: Tensor, canonical: Tensor, weight: Tensor, *, window: int) -> Tensor:
    """1 minus the mean normalised cross-correlation in a sliding window, in [0, 2].

    It is insensitive to brightness and contrast that change slowly over the film. ``window`` is its side in pixels,
    odd. Our addition; the paper has no such loss.
    """
    w = weight.expand_as(film)
    sums = torch.cat([w, w * film, w * canonical, w * film * film, w * canonical * canonical, w * film * canonical])
    share, a, b, aa, bb, ab = box_mean(sums, window).split(len(film))
    share = share.clamp_min(1e-3)
    a, b = a / share, b / share
    var_a, var_b, cov = aa / share - a**2, bb / share - b**2, ab / share - a * b
    ncc = cov / torch.sqrt((var_a.clamp_min(0) + 1e-4) * (var_b.clamp_min(0) + 1e-4))
    return 1 - weighted_mean(ncc, weight)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """The mean of the values (B, C, S, S) over the pixels with weight, (B,); 0 where no pixel has weight."""
    total = (values * weight).sum((1, 2, 3))
    return total / weight.expand_as(values).sum((1, 2, 3)).clamp_min(1)


def box_mean(images: Tensor, window: int) -> Tensor:
    """The mean over a window x window square around each pixel, same shape; 0 outside the image, ``window`` odd."""
    down, across = (_box_matrix(side, window, images.dtype, images.device) for side in images.shape[-2:])
    return down @ images @ across


def gaussian_blur(images: Tensor, *, sigma: float, radius: int | None = None) -> Tensor:
    """Images (B, 1, H, W) blurred by a Gaussian with ``sigma`` in pixels and mirrored edges; unchanged for sigma 0."""
    if sigma <= 0:
        return images
    radius = min(radius or max(1, round(3 * sigma)), min(images.shape[-2:]) - 1)
    down, across = (_gaussian_matrix(side, sigma, radius, images.dtype, images.device) for side in images.shape[-2:])
    blurred = torch.cat([down[at, of] @ images[..., of, :] for at, of in _bands(len(down), radius)], -2)
    return torch.cat([blurred[..., of] @ across[at, of].mT for at, of in _bands(len(across), radius)], -1)


def _bands(side: int, radius: int) -> Iterator[tuple[slice, slice]]:
    """Some rows of a filter's matrix, and its columns that are not 0 there."""
    for first in range(0, side, BAND):
        yield slice(first, first + BAND), slice(max(0, first - radius), first + BAND + radius)


# A filter along an axis as a matrix (S, S), filtered = matrix @ values: the product takes a fifth of the time of a
# convolution of a single channel, and a tenth of that of a mean over a large window. Where the window is short, the
# product by bands takes half of that again.


@lru_cache(maxsize=64)
def _box_matrix(side: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    at = torch.arange(side)
    return (((at[:, None] - at).abs() <= window // 2).double() / window).to(device, dtype)


@lru_cache(maxsize=64)
def _gaussian_matrix(side: int, sigma: float, radius: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    source = (torch.arange(side)[:, None] + torch.arange(-radius, radius + 1)).abs()  # before the first: mirrored
    source = torch.where(source >= side, 2 * side - 2 - source, source)  # behind the last as well
    weights = (kernel / kernel.sum()).expand(side, -1)
    return torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, source, weights).to(device, dtype)


class Perceptual(nn.Module):
    """The VGG perceptual loss: mean squared difference of VGG19's relu5_4 responses, after normalisation for ImageNet.

    Layer and distance are inferred (Ledig et al. 2017, the paper's reference [20]). ``weights`` is a safetensors file
    with torchvision's names, ``dtype`` that of its computation. Raises IncompatibleModel for another file.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.features = vgg19_features(weights).to(dtype).to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, film: Tensor, canonical: Tensor) -> Tensor:
        """``canonical`` is the image of all films, (1, 1, S, S), or that of each, (B, 1, S, S)."""
        squared = (self._responses(film) - self._responses(canonical)) ** 2
        return squared.mean((1, 2, 3))

    def _responses(self, images: Tensor) -> Tensor:
        normalised = (images.expand(-1, 3, -1, -1) - self.mean) / self.std
        responses: Tensor = self.features(normalised.to(self.dtype, memory_format=torch.channels_last))
        return responses.float()


def vgg19_features(weights: Path) -> nn.Sequential:
    """VGG19 up to relu5_4 with the weights of a safetensors file. Raises IncompatibleModel for another file."""
    from safetensors.torch import load_file

    with torch.device("meta"):
        features = vgg.vgg19_layers()[: vgg.RELU5_4]
    expected = set(features.state_dict())
    try:
        tensors = {name.removeprefix("features."): value for name, value in load_file(weights).items()}
        features.load_state_dict({n: v.float() for n, v in tensors.items() if n in expected}, assign=True)
    except Exception as problem:
        raise IncompatibleModel(
            "The file for the perceptual loss does not hold the weights of VGG19: import vgg19 again, or set "
            "alignment.perceptual=0."
        ) from problem
    return features


@cache
def odd_window(size: int) -> int:
    """The odd side in pixels of the local NCC's window: about an eighth of the film's side, at least 5."""
    return max(5, size // 8 | 1)
