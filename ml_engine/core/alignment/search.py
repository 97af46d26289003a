"""Search of a film's affine by descent on its correlation with the canonical image (Fig. 5, first family)."""

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

SIDE = 64  # films are searched at this side, smaller ones at their own: enough for an affine, and cheap
BATCH = 32  # fixed and padded, so that a film's result does not depend on its company
SIGMAS = (3.0, 1.5, 0.75)  # blur in pixels of the searched film, one per third of the steps
WINDOW = 1 / 2  # side of the window in which contrast is made even, as a share of the film's side
LEARNING_RATE = 0.05
FLOOR = 1e-3  # added to the local variances: contrast below 3 % of the range counts little


def search(films: Tensor, valid: Tensor, *, canonical: Canonical, starts: list[Tensor], steps: int) -> Tensor:
    """Thetas (N, 2, 3) float32 after ``steps`` steps of Adam, each film on its own.

    What is correlated are local contrasts (`local_contrast`), so that exposure does not matter.
    ``films`` and ``valid`` are float (N, 1, S, S); ``starts`` are thetas (N, 2, 3), of which each film
    begins at the one that fits best. A film that ends worse than it began keeps its start.
    """
    film, mask = shrunk(films), _shrunk_mask(valid)
    image, support = shrunk(canonical.image), _shrunk_mask(canonical.support)
    images = [local_contrast(gaussian_blur(image, sigma=sigma), support) for sigma in SIGMAS]
    found = [
        _search_batch(film[at], mask[at], [start[at] for start in starts], images=images, support=support, steps=steps)
        for at in spans(len(films), BATCH)
    ]
    return torch.cat(found)


def local_contrast(images: Tensor, mask: Tensor) -> Tensor:
    """(B, 1, S, S) less its mean and over its deviation in a window around each pixel; 0 off the mask."""
    window = int(images.shape[-1] * WINDOW) // 2 * 2 + 1
    area = box_mean(mask, window).clamp_min(1e-3)
    mean = box_mean(images * mask, window) / area
    variance = (box_mean(images * images * mask, window) / area - mean**2).clamp_min(0)
    return (images - mean) / (variance + FLOOR).sqrt() * mask


def shrunk(images: Tensor) -> Tensor:
    """The whole frame of (N, 1, S, S) at `SIDE`, smaller ones as they are. Were an edge cut off, thetas would be
    those of another frame."""
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
        found = join(start, residual_theta(torch.tanh(unit)))
        return _best([start, found], [misfit(1, start), misfit(1, found)])[:count]


def _best(thetas: list[Tensor], misfits: list[Tensor]) -> Tensor:
    """For each film the theta of the smallest misfit; the first of equals, and never one without a misfit."""
    choice = torch.stack(misfits).nan_to_num(nan=torch.inf).argmin(0)
    return torch.stack(thetas)[choice, torch.arange(len(choice), device=choice.device)]
