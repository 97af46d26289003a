"""Search of a film's affine by descent on the local NCC (Fig. 5, the first family)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ml_engine.core.alignment.batches import padded, spans
from ml_engine.core.alignment.canonical import Canonical
from ml_engine.core.alignment.losses import gaussian_blur, odd_window, reversed_local_ncc
from ml_engine.core.alignment.network import residual_theta
from ml_engine.core.alignment.sampling import join, sample, sample_valid

SIDE = 64  # films are searched at about this side: enough for an affine, and cheap
BATCH = 32  # fixed and padded, so that a film's result does not depend on its company
SIGMAS = (3.0, 1.5, 0.75)  # blur in pixels of the searched film, one per third of the steps
LEARNING_RATE = 0.05


def search(films: Tensor, valid: Tensor, *, canonical: Canonical, starts: list[Tensor], steps: int) -> Tensor:
    """Thetas (N, 2, 3) float32 after ``steps`` steps of Adam on 1 - local NCC, each film on its own.

    ``films`` and ``valid`` are float (N, 1, S, S); ``starts`` are thetas (N, 2, 3), of which each film
    begins at the one that fits best. A film that ends worse than it began keeps its start.
    """
    film, mask, target = _shrink(films, valid, canonical)
    parts = [
        _search_batch(film[at], mask[at], target, [start[at] for start in starts], steps)
        for at in spans(len(films), BATCH)
    ]
    return torch.cat(parts)


def _shrink(films: Tensor, valid: Tensor, canonical: Canonical) -> tuple[Tensor, Tensor, Canonical]:
    factor = max(1, films.shape[-1] // SIDE)
    support = (F.avg_pool2d(canonical.support, factor) > 0.999).to(films.dtype)
    target = Canonical(F.avg_pool2d(canonical.image, factor), support)
    mask = (F.avg_pool2d(valid, factor) > 0.999).to(films.dtype)
    return F.avg_pool2d(films, factor), mask, target


def _search_batch(film: Tensor, mask: Tensor, target: Canonical, starts: list[Tensor], steps: int) -> Tensor:
    count = len(film)
    film, mask = padded(film, BATCH), padded(mask, BATCH)
    starts = [padded(start, BATCH).detach().to(film) for start in starts]
    films = [gaussian_blur(film, sigma=sigma) for sigma in SIGMAS]
    images = [gaussian_blur(target.image, sigma=sigma) for sigma in SIGMAS]

    def misfit(level: int, theta: Tensor) -> Tensor:
        weight = sample_valid(mask, theta) * target.support
        window = odd_window(film.shape[-1])
        image = images[level].expand_as(film)
        return reversed_local_ncc(sample(films[level], theta), image, weight, window=window)

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
    """For each film the theta of the smallest misfit; the first of equals."""
    choice = torch.stack(misfits).argmin(0)
    return torch.stack(thetas)[choice, torch.arange(len(choice), device=choice.device)]
