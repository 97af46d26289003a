"""Pictures of an alignment for visual inspection, gray or in colour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ml_engine.core.alignment.batches import spans
from ml_engine.core.alignment.canonical import BATCH, Canonical, mean_of_aligned
from ml_engine.core.alignment.checks import correlation
from ml_engine.core.alignment.sampling import sample_both, unaligned

EACH = 3  # number of worst and of median films shown


@dataclass(frozen=True)
class Pair:
    """A picture before and after the alignment: uint8 (S, S), or (S, S, 3) for a film over the canonical image.

    ``film`` is the index of the film among those measured, ``ncc`` its correlation before and after.
    """

    name: str
    before: Tensor
    after: Tensor
    film: int | None = None
    ncc: tuple[float, float] | None = None


@torch.no_grad()
def pictures(films: Tensor, mask: Tensor, thetas: Tensor, *, canonical: Canonical) -> list[Pair]:
    """The mean film, the variance over films, and films over the canonical image.

    The films are those with the lowest and with median NCC after alignment. ``films`` and ``mask`` are prepared, float
    (N, 1, S, S); ``thetas`` (N, 2, 3). The film is red and the canonical image cyan, so that they are gray where they
    agree. Both variances have the same scale.
    """
    still = unaligned(len(films)).to(films)
    mean = Pair(
        "mean", _gray(mean_of_aligned(films, mask, still).image), _gray(mean_of_aligned(films, mask, thetas).image)
    )
    before, after = _variance(films, mask, still), _variance(films, mask, thetas)
    most = torch.maximum(before.max(), after.max()).clamp_min(1e-9)
    pairs = [mean, Pair("variance", _gray(before / most), _gray(after / most))]
    ncc = torch.stack([_ncc(films, mask, still, canonical), _ncc(films, mask, thetas, canonical)])
    for name, film in shown_films(ncc[1]):
        at = slice(film, film + 1)
        unmoved, moved = (_overlay(films[at], mask[at], theta[at], canonical) for theta in (still, thetas))
        pairs.append(Pair(name, unmoved, moved, film, (float(ncc[0, film]), float(ncc[1, film]))))
    return pairs


def canonical_picture(canonical: Canonical) -> Tensor:
    """The canonical image, uint8 (S, S)."""
    return _gray(canonical.image)


def shown_films(ncc: Tensor) -> list[tuple[str, int]]:
    """Names and indices of the films to show, from their correlations (N,): the worst, then the median ones."""
    order = torch.argsort(ncc, stable=True).tolist()
    worst, rest = order[:EACH], order[EACH:]
    start = max(0, (len(order) - EACH) // 2 - len(worst))
    middle = rest[start : start + EACH]
    named = [(f"worst-{k + 1}", film) for k, film in enumerate(worst)]
    return named + [(f"middle-{k + 1}", film) for k, film in enumerate(middle)]


def _gray(image: Tensor) -> Tensor:
    return (image.reshape(image.shape[-2:]).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def _overlay(film: Tensor, mask: Tensor, theta: Tensor, canonical: Canonical) -> Tensor:
    aligned, weight = sample_both(film, mask, theta)
    red = _gray(aligned * weight)
    cyan = _gray(canonical.image)
    return torch.stack([red, cyan, cyan], -1)


def _variance(films: Tensor, mask: Tensor, thetas: Tensor) -> Tensor:
    """The variance over the films at each pixel that at least two of them cover, otherwise 0; float64 (S, S)."""
    sums = torch.zeros(3, *films.shape[-2:], dtype=torch.float64, device=films.device)
    for at in spans(len(films), BATCH):
        aligned, weight = sample_both(films[at], mask[at], thetas[at])
        aligned = aligned * weight
        sums += torch.cat([weight, aligned, aligned.square()], 1).double().sum(0)
    count = sums[0].clamp_min(1)
    variance = (sums[2] / count - (sums[1] / count) ** 2).clamp_min(0)
    return variance * (sums[0] >= 2)


def _ncc(films: Tensor, mask: Tensor, thetas: Tensor, canonical: Canonical) -> Tensor:
    ncc = []
    for at in spans(len(films), BATCH):
        aligned, weight = sample_both(films[at], mask[at], thetas[at])
        ncc.append(correlation(aligned, canonical.image.expand_as(aligned), weight * canonical.support))
    return torch.cat(ncc)
