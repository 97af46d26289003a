"""Search for a film's affine by gradient descent on its correlation with the canonical image (paper, Fig. 5, left)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core.alignment.batches import padded, spans
from ml_engine.core.alignment.canonical import Canonical
from ml_engine.core.alignment.checks import correlation
from ml_engine.core.alignment.losses import box_mean, gaussian_blur
from ml_engine.core.alignment.network import residual_theta
from ml_engine.core.alignment.sampling import join, sample, sample_valid

SIDE = 64  # larger films are shrunk to this side: sufficient for an affine, and fast
BATCH = 32  # fixed and padded, so that the result for a film does not depend on the others
SIGMAS = (3.0, 1.5, 0.75)  # blur in pixels of the shrunk film, for each third of the steps
WINDOW = 1 / 2  # side of the window for local contrast, as a share of the film's side
LEARNING_RATE = 0.05
FLOOR = 1e-3  # added to local variances: contrast below 3 % of the gray scale counts little


def search(films: Tensor, valid: Tensor, *, canonical: Canonical, starts: list[Tensor], steps: int) -> Tensor:
    """The thetas float32 (N, 2, 3) after ``steps`` steps of Adam, for each film independently.

    The correlation is that of local contrasts (`local_contrast`), so that exposure has no influence. ``films`` and
    ``valid`` are float (N, 1, S, S); ``starts`` are one or more thetas (N, 2, 3), of which each film starts from the
    best. A film whose result is worse than its start keeps the start.
    """
    film, mask = shrunk(films), _shrunk_mask(valid)
    image, support = shrunk(canonical.image), _shrunk_mask(canonical.support)
    images = [local_contrast(gaussian_blur(image, sigma=sigma), support) for sigma in SIGMAS]
    thetas = [
        _search_batch(film[at], mask[at], [start[at] for start in starts], images=images, support=support, steps=steps)
        for at in spans(len(films), BATCH)
    ]
    return torch.cat(thetas)


def local_contrast(images: Tensor, mask: Tensor) -> Tensor:
    """Images (B, 1, S, S) minus their mean and divided by their deviation in a window around each pixel; 0 outside the
    mask."""
    window = int(images.shape[-1] * WINDOW) // 2 * 2 + 1
    area = box_mean(mask, window).clamp_min(1e-3)
    mean = box_mean(images * mask, window) / area
    variance = (box_mean(images * images * mask, window) / area - mean**2).clamp_min(0)
    return (images - mean) / (variance + FLOOR).sqrt() * mask


def shrunk(images: Tensor) -> Tensor:
    """Images (N, 1, S, S) shrunk to `SIDE`, or unchanged if smaller. The whole frame is kept, so thetas stay valid."""
    if images.shape[-1] <= SIDE:
        return images
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def _shrunk_mask(mask: Tensor) -> Tensor:
    return (shrunk(mask) > 0.999).to(mask.dtype)


def _search_batch(
    film: Tensor, mask: Tensor, starts: list[Tensor], *, images: list[Tensor], support: Tensor, steps: int
) -> Tensor:
    count = len(film)
    film, mask = padded(film, BATCH), padded(mask, BATCH)
    starts = [padded(start, BATCH).detach().to(film) for start in starts]
    films = [local_contrast(gaussian_blur(film, sigma=sigma), mask) for sigma in SIGMAS]

    def misfit(level: int, theta: Tensor) -> Tensor:
        weight = sample_valid(mask, theta) * support
        return 1 - correlation(sample(films[level], theta), images[level].expand_as(film), weight)

    with torch.no_grad():
        start = _best(starts, [misfit(0, s) for s in starts])
    unit = torch.zeros(BATCH, 6, dtype=film.dtype, device=film.device, requires_grad=True)
    adam = torch.optim.Adam([unit], lr=LEARNING_RATE)
    with torch.enable_grad():
        for step in range(steps):
            adam.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.9 * step / steps)
            adam.zero_grad()
            misfit(3 * step // steps, join(start, residual_theta(torch.tanh(unit)))).sum().backward()
            adam.step()
    with torch.no_grad():
        result = join(start, residual_theta(torch.tanh(unit)))
        return _best([start, result], [misfit(1, start), misfit(1, result)])[:count]


def _best(thetas: list[Tensor], misfits: list[Tensor]) -> Tensor:
    """The theta with the smallest misfit for each film; the first among equals, and never one whose misfit is NaN."""
    choice = torch.stack(misfits).nan_to_num(nan=torch.inf).argmin(0)
    return torch.stack(thetas)[choice, torch.arange(len(choice), device=choice.device)]
