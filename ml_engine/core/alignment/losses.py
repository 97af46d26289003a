"""How far an aligned film is from the canonical image: the paper's three losses and a local NCC.

Images are float (B, 1, S, S) in [0, 1]; ``weight`` is float (B, 1, S, S), 1 where a pixel counts. Each
function returns one value per film, (B,).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core.errors import IncompatibleModel

C1, C2 = 0.01**2, 0.03**2  # SSIM's constants for a data range of 1
RELU5_4 = 36  # torchvision's vgg19().features[:36] ends with relu5_4


def constancy(film: Tensor, canonical: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference, L1 [i]."""
    return weighted_mean((film - canonical).abs(), weight)


def reversed_ssim(film: Tensor, canonical: Tensor, weight: Tensor) -> Tensor:
    """1 - SSIM, in [0, 2]. The paper gives no window: this is `ssim_map`'s."""
    return 1 - weighted_mean(ssim_map(film, canonical), weight)


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM at each pixel (Wang 2004): 11 x 11 Gaussian window, sigma 1.5, edges mirrored."""
    both = torch.cat([a, b, a * a, b * b, a * b])
    mean_a, mean_b, aa, bb, ab = gaussian_blur(both, sigma=1.5, radius=5).split(len(a))
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    ssim: Tensor = ((2 * mean_a * mean_b + C1) * (2 * cov + C2)) / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))
    return ssim


def reversed_local_ncc(film: Tensor, canonical: Tensor, weight: Tensor, *, window: int) -> Tensor:
    """1 - the normalised cross-correlation in a sliding window, averaged; in [0, 2].

    Blind to brightness and contrast that change slowly over the film. ``window`` is the side in pixels.
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
    """The mean over channels and pixels that count, (B,); 0 where none does."""
    total = (values * weight).sum((1, 2, 3))
    return total / weight.expand_as(values).sum((1, 2, 3)).clamp_min(1)


def box_mean(images: Tensor, window: int) -> Tensor:
    """The mean over a window x window square around each pixel, zeros outside; ``window`` is odd."""
    pad = window // 2
    across = F.avg_pool2d(images, (1, window), stride=1, padding=(0, pad))
    return F.avg_pool2d(across, (window, 1), stride=1, padding=(pad, 0))


def gaussian_blur(images: Tensor, *, sigma: float, radius: int | None = None) -> Tensor:
    """Gaussian blur of (B, 1, H, W), ``sigma`` in pixels, edges mirrored. sigma = 0 returns the images."""
    if sigma <= 0:
        return images
    radius = min(radius or max(1, round(3 * sigma)), min(images.shape[-2:]) - 1)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images)
    across = F.conv2d(mirrored(images, radius), kernel.view(1, 1, 1, -1))
    return F.conv2d(mirrored(across.mT, radius), kernel.view(1, 1, 1, -1)).mT


def mirrored(images: Tensor, radius: int) -> Tensor:
    """Columns added on both sides, mirrored about the edge columns: `pad(mode="reflect")`.

    Torch's own has no deterministic gradient on a GPU.
    """
    left, right = images[..., 1 : radius + 1].flip(-1), images[..., -radius - 1 : -1].flip(-1)
    return torch.cat([left, images, right], -1)


class Perceptual(nn.Module):
    """Mean squared difference of VGG19's relu5_4 responses [i]: gray to 3 channels, ImageNet scale.

    ``weights`` is a safetensors file with torchvision's names. Raises IncompatibleModel for another file.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.features = vgg19_features(weights)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, film: Tensor, canonical: Tensor) -> Tensor:
        both = (torch.cat([film, canonical.expand_as(film)]).repeat(1, 3, 1, 1) - self.mean) / self.std
        a, b = self.features(both).split(len(film))
        squared: Tensor = (a - b) ** 2
        return squared.mean((1, 2, 3))


def vgg19_features(weights: Path) -> nn.Sequential:
    """VGG19 up to relu5_4 with the weights of the file. Raises IncompatibleModel."""
    from safetensors.torch import load_file
    from torchvision.models import vgg19

    with torch.device("meta"):
        features: nn.Sequential = vgg19(weights=None).features[:RELU5_4]
    wanted = set(features.state_dict())
    try:
        tensors = {name.removeprefix("features."): value for name, value in load_file(weights).items()}
        features.load_state_dict({n: v.float() for n, v in tensors.items() if n in wanted}, assign=True)
    except Exception as problem:
        raise IncompatibleModel(
            "The file given for the perceptual loss does not hold the weights of VGG19. Import vgg19 again, "
            "or set alignment.perceptual=0."
        ) from problem
    return features


@cache
def odd_window(size: int) -> int:
    """The window of the local NCC for films of this side: an eighth of it, odd."""
    return max(5, size // 8 | 1)
