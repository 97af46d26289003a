"""Checks that reject implausible affines, and measurements of the quality of an alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ml_engine.core.alignment.batches import spans
from ml_engine.core.alignment.canonical import BATCH, Canonical
from ml_engine.core.alignment.losses import ssim_map, weighted_mean
from ml_engine.core.alignment.report import AlignmentMeasures
from ml_engine.core.alignment.sampling import sample_both, sample_valid, unaligned

SCALES = (0.7, 1.4)  # allowed range of the scale along each axis
SIMILAR = 8  # films compared at once: their blurred products stay in the cache, which takes two thirds of the time


@dataclass(frozen=True)
class Checks:
    """The checks that each film's affine fails, bool (N,) each."""

    flipped: Tensor
    out_of_scale: Tensor
    out_of_frame: Tensor

    @property
    def failed(self) -> Tensor:
        """The films that fail any check, bool (N,)."""
        return self.flipped | self.out_of_scale | self.out_of_frame

    def shares(self) -> dict[str, float]:
        """The share of films that fail each check, in [0, 1], by its name in `AlignmentMeasures`."""
        names = {
            "share_determinant_not_positive": self.flipped,
            "share_scale_outside": self.out_of_scale,
            "share_valid_area_below": self.out_of_frame,
            "share_flagged": self.failed,
        }
        return {name: float(bad.double().mean()) for name, bad in names.items()}


def check(thetas: Tensor, valid: Tensor, *, least_valid_area: float) -> Checks:
    """Check affines: determinant > 0, singular values within [0.7, 1.4], `valid_area` at least ``least_valid_area``.

    ``thetas`` is (N, 2, 3), ``valid`` float (N, 1, S, S), 1 inside the films. NaN fails.
    """
    linear = torch.nan_to_num(thetas[..., :2].double(), nan=0.0)
    scales = torch.linalg.svdvals(linear)
    in_scale = (scales[:, -1] >= SCALES[0]) & (scales[:, 0] <= SCALES[1])
    flipped = ~(torch.linalg.det(linear) > 0)
    out_of_frame = ~(valid_area(thetas, valid) >= least_valid_area)
    return Checks(flipped.cpu(), ~in_scale.cpu(), out_of_frame.cpu())


def valid_area(thetas: Tensor, valid: Tensor) -> Tensor:
    """The overlap of film and canonical frame as a share of the smaller of the two areas, float64 (N,), 0 to about 1.

    It is 1 for a film that lies wholly inside the frame and for a film that fills it, less for a film that is partly
    outside, and 0 without overlap. A film that is correctly shrunk therefore keeps the value 1; the amount of shrinking
    is limited by the check of the scale. Padding does not count as film.
    """
    filled = frame_filled(thetas, valid)
    own = valid.double().mean((1, 2, 3)) / torch.linalg.det(thetas[..., :2].double()).abs().clamp_min(1e-9)
    share: Tensor = filled / own.clamp(1e-9, 1.0)
    return share


def frame_filled(thetas: Tensor, valid: Tensor) -> Tensor:
    """The share of the canonical frame that the aligned film fills, float64 (N,), 0 to 1."""
    return torch.cat([sample_valid(valid[at], thetas[at]).double().mean((1, 2, 3)) for at in spans(len(valid), BATCH)])


def measure(films: Tensor, valid: Tensor, thetas: Tensor, *, canonical: Canonical) -> dict[str, float | None]:
    """Mean NCC and SSIM of the films to the canonical image, and the variance of the aligned stack.

    All are computed inside the valid area only. The variance is over the films at each pixel that at least half of them
    cover, averaged over these pixels, in squared units of [0, 1]; None where there is no such pixel.
    """
    ncc: list[Tensor] = []
    ssim: list[Tensor] = []
    sums = torch.zeros(3, *films.shape[-2:], dtype=torch.float64, device=films.device)
    for at in spans(len(films), BATCH):
        aligned, weight = sample_both(films[at], valid[at], thetas[at])
        aligned = aligned * weight
        sums += torch.cat([weight, aligned, aligned.square()], 1).double().sum(0)
        for values, value in zip((ncc, ssim), _similarity(aligned, weight, canonical), strict=True):
            values.append(value)
    return {
        "ncc": float(torch.cat(ncc).double().mean()),
        "ssim": float(torch.cat(ssim).double().mean()),
        "stack_variance": _stack_variance(sums, len(films)),
    }


def film_similarity(
    films: Tensor, valid: Tensor, thetas: Tensor, *, canonical: Canonical
) -> tuple[Tensor, Tensor, Tensor]:
    """NCC in [-1, 1] and SSIM of each film to the canonical image inside the valid area, and `frame_filled`; float64
    (N,) each."""
    ncc, ssim, filled = [], [], []
    for at in spans(len(films), SIMILAR):
        aligned, weight = sample_both(films[at], valid[at], thetas[at])
        film_ncc, film_ssim = _similarity(aligned * weight, weight, canonical)
        ncc.append(film_ncc.double())
        ssim.append(film_ssim.double())
        filled.append(weight.double().mean((1, 2, 3)))
    return torch.cat(ncc), torch.cat(ssim), torch.cat(filled)


def _similarity(aligned: Tensor, weight: Tensor, canonical: Canonical) -> tuple[Tensor, Tensor]:
    """NCC and SSIM (B,) of aligned films (B, 1, S, S) that are 0 where their weight is 0."""
    inside = weight * canonical.support
    image = canonical.image.expand_as(aligned)
    ssim = weighted_mean(ssim_map(aligned * inside, image * inside), inside)
    return correlation(aligned, image, inside), ssim


def _stack_variance(sums: Tensor, films: int) -> float | None:
    count, first, second = sums
    often = count >= films / 2
    if not bool(often.any()):
        return None
    mean = first[often] / count[often]
    return float((second[often] / count[often] - mean**2).clamp_min(0).mean())


def correlation(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """The normalised cross-correlation of images (B, 1, S, S) over the pixels with weight, in [-1, 1], (B,).

    0, without a gradient, for a constant image.
    """
    da = a - weighted_mean(a, weight).view(-1, 1, 1, 1)
    db = b - weighted_mean(b, weight).view(-1, 1, 1, 1)
    spread = weighted_mean(da * da, weight) * weighted_mean(db * db, weight)
    return weighted_mean(da * db, weight) / spread.clamp_min(1e-18).sqrt()  # a root's gradient at 0 is infinite


def measured(
    films: Tensor, valid: Tensor, thetas: Tensor, *, canonical: Canonical, unchecked: Checks
) -> AlignmentMeasures:
    """The report of an alignment: `measure` before (identity) and after, and the share of films failing each check."""
    identity = unaligned(len(films)).to(films.device)
    before = measure(films, valid, identity, canonical=canonical)
    after = measure(films, valid, thetas, canonical=canonical)
    numbers: dict[str, Any] = {f"{name}_before": value for name, value in before.items()}
    numbers |= {f"{name}_after": value for name, value in after.items()} | unchecked.shares()
    filled = frame_filled(thetas, valid)
    return AlignmentMeasures(
        films=len(films),
        frame_filled=float(filled.mean()),
        frame_filled_least=float(filled.min()),
        **numbers,
    )
