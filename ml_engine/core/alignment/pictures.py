"""Pictures of what an alignment did, gray or colour, for a person to look at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ml_engine.core.alignment.batches import spans
from ml_engine.core.alignment.canonical import BATCH, Canonical, mean_of_aligned
from ml_engine.core.alignment.checks import correlation
from ml_engine.core.alignment.sampling import sample, sample_valid, unaligned

EACH = 3  # films shown of the worst, and of the middle


@dataclass(frozen=True)
class Pair:
    """A picture before and after the alignment: uint8 (S, S), or (S, S, 3) for a film over the canonical image.

    ``film`` is the film's place among those measured, with its correlation (NCC) before and after.
    """

    name: str
    before: Tensor
    after: Tensor
    film: int | None = None
    ncc: tuple[float, float] | None = None


@torch.no_grad()
def pictures(films: Tensor, mask: Tensor, thetas: Tensor, *, canonical: Canonical) -> list[Pair]:
    """The mean film, the variance over films, and films over the canonical image: those that fit it worst when
    aligned (by NCC), and those in the middle. ``films`` and ``mask`` are prepared, float (N, 1, S, S).

    The film is red and the canonical image cyan, so that what agrees is gray. Both variances have one scale.
    """
    still = unaligned(len(films)).to(films)
    mean = Pair(
        "mean", _gray(mean_of_aligned(films, mask, still).image), _gray(mean_of_aligned(films, mask, thetas).image)
    )
    before, after = _variance(films, mask, still), _variance(films, mask, thetas)
    most = torch.maximum(before.max(), after.max()).clamp_min(1e-9)
    found = [mean, Pair("variance", _gray(before / most), _gray(after / most))]
    ncc = torch.stack([_ncc(films, mask, still, canonical), _ncc(films, mask, thetas, canonical)])
    for name, film in shown_films(ncc[1]):
        at = slice(film, film + 1)
        pair = [_overlay(films[at], mask[at], theta[at], canonical) for theta in (still, thetas)]
        found.append(Pair(name, pair[0], pair[1], film, (float(ncc[0, film]), float(ncc[1, film]))))
    return found


def canonical_picture(canonical: Canonical) -> Tensor:
    """The canonical image, uint8 (S, S)."""
    return _gray(canonical.image)


def shown_films(ncc: Tensor) -> list[tuple[str, int]]:
    """Names and places of the films to show, from their correlations (N,): the worst, then the middle ones."""
    order = torch.argsort(ncc, stable=True).tolist()
    worst, rest = order[:EACH], order[EACH:]
    start = max(0, (len(order) - EACH) // 2 - len(worst))
    middle = rest[start : start + EACH]
    named = [(f"worst-{k + 1}", film) for k, film in enumerate(worst)]
    return named + [(f"middle-{k + 1}", film) for k, film in enumerate(middle)]


def _gray(image: Tensor) -> Tensor:
    return (image.reshape(image.shape[-2:]).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def _overlay(film: Tensor, mask: Tensor, theta: Tensor, canonical: Canonical) -> Tensor:
    red = _gray(sample(film, theta) * sample_valid(mask, theta))
    cyan = _gray(canonical.image)
    return torch.stack([red, cyan, cyan], -1)


def _variance(films: Tensor, mask: Tensor, thetas: Tensor) -> Tensor:
    """The variance over the films at each pixel that two or more of them fill, else 0, float64 (S, S)."""
    sums = torch.zeros(3, *films.shape[-2:], dtype=torch.float64, device=films.device)
    for at in spans(len(films), BATCH):
        weight = sample_valid(mask[at], thetas[at])
        aligned = sample(films[at], thetas[at]) * weight
        sums += torch.cat([weight, aligned, aligned.square()], 1).double().sum(0)
    count = sums[0].clamp_min(1)
    variance = (sums[2] / count - (sums[1] / count) ** 2).clamp_min(0)
    return variance * (sums[0] >= 2)


def _ncc(films: Tensor, mask: Tensor, thetas: Tensor, canonical: Canonical) -> Tensor:
    found = []
    for at in spans(len(films), BATCH):
        weight = sample_valid(mask[at], thetas[at]) * canonical.support
        aligned = sample(films[at], thetas[at])
        found.append(correlation(aligned, canonical.image.expand_as(aligned), weight))
    return torch.cat(found)
