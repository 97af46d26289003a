"""PaDiM: a Gaussian distribution for each patch position (Defard et al. 2021, ICPR Workshops, LNCS 12664:475)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.backbone.feature_file import Features, values_at
from ml_engine.core.bank.memory_bank import Progress, Source, places_of
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank, IncompatibleModel, UnusableFeatures

RIDGE = 0.01  # added to the diagonal of each covariance matrix, as published
CHUNK_VALUES = 2**24  # float64 values of films and factors in memory at once: 128 MiB


@dataclass(frozen=True)
class Padim:
    """The Gaussian of each of the P patches that the mask keeps.

    ``dimensions`` int64 (d,) are the feature dimensions used, ``mean`` float32 (P, d), and ``factor`` float32 (P, d, d)
    the inverse of the lower Cholesky factor of the covariance: the Mahalanobis distance is the L2 norm of
    factor @ (x - mean).
    """

    dimensions: Tensor
    mean: Tensor
    factor: Tensor


def fit(
    features: Features,
    source: Source,
    config: PipelineConfig,
    *,
    films: Tensor | None = None,
    progress: Progress | None = None,
) -> Padim:
    """Mean and covariance of each patch over the films, in ``padim_dimensions`` feature dimensions drawn by the seed.

    ``features`` float32 (F * P, D) are arranged as in `Source`; ``films`` int64 restricts the fit to these of the F
    films. The covariance divides by the number of films minus one, and 0.01 is added to its diagonal, as published.
    Computed in float64. Raises EmptyBank where no patch or film is left, and UnusableFeatures.
    """
    per_film, wide = len(source.places), features.shape[1]
    chosen = torch.arange(len(source.films)) if films is None else films
    if per_film == 0 or len(chosen) == 0:
        raise EmptyBank("No patch is left to fit PaDiM on: check the hard mask and the fit part.")
    count = min(config.padim_dimensions, wide)
    drawn = torch.randperm(wide, generator=torch.Generator().manual_seed(config.seed))[:count].sort().values
    first_rows, columns = (chosen * per_film).to(features.device)[:, None], drawn.to(features.device)
    means, factors = [], []
    at_once = max(1, CHUNK_VALUES // (count * (len(chosen) + count)))
    for first in range(0, per_film, at_once):
        places = torch.arange(first, min(per_film, first + at_once), device=features.device)
        part = values_at(features, first_rows + places, columns).double()  # (F, p, d); no more is copied
        mean = part.mean(0)  # (p, d)
        centred = part - mean
        covariance = torch.einsum("fpi,fpj->pij", centred, centred) / max(1, len(chosen) - 1)
        covariance += RIDGE * torch.eye(count, dtype=torch.float64, device=features.device)
        root, failed = torch.linalg.cholesky_ex(covariance)
        if bool(failed.any()):  # with the ridge, only where a value is not finite or too large
            raise UnusableFeatures
        identity = torch.eye(count, dtype=torch.float64, device=features.device).expand_as(root)
        means.append(mean.float().cpu())
        factors.append(torch.linalg.solve_triangular(root, identity, upper=False).float().cpu())
        if progress:
            progress(min(per_film, first + at_once), per_film)
    return Padim(drawn, torch.cat(means), torch.cat(factors))


class PadimScorer:
    """Computes a film's maps from its patch features: the Mahalanobis distance of each patch to its Gaussian, the same
    in both channels. The published smoothing of the map is omitted (our choice)."""

    def __init__(self, model: Padim, keep: NDArray[np.bool_], config: PipelineConfig, device: torch.device) -> None:
        self.places, self.side, self.device = places_of(keep), config.patches, device
        if len(self.places) != len(model.mean):
            raise IncompatibleModel("The PaDiM detector's places are not those of its mask: fit it again.")
        self.dimensions = model.dimensions.to(device)
        self.mean, self.factor = model.mean.to(device), model.factor.to(device)

    def maps(self, features: Tensor) -> NDArray[np.float32]:
        """Maps float32 (2, h, w) of one film from its features float32 (P, D); NaN where masked."""
        centred = (features.to(self.device)[:, self.dimensions] - self.mean).double()  # (P, d)
        count = centred.shape[1]
        at_once = max(1, CHUNK_VALUES // count**2)
        parts = [
            torch.einsum("pij,pj->pi", factor.double(), part).norm(dim=1)
            for factor, part in zip(self.factor.split(at_once), centred.split(at_once), strict=True)
        ]
        maps = torch.full((2, self.side, self.side), math.nan)
        maps[:, self.places[:, 0], self.places[:, 1]] = torch.cat(parts).float().cpu()
        return maps.numpy()

    def film_maps(self, films: Tensor) -> NDArray[np.float32]:
        """`maps` of several films (B, P, D), float32 (B, 2, h, w)."""
        return np.stack([self.maps(film) for film in films])


def to_tensors(model: Padim) -> dict[str, Tensor]:
    """The model as named tensors."""
    return {"padim.dimensions": model.dimensions, "padim.mean": model.mean, "padim.factor": model.factor}


def from_tensors(tensors: dict[str, Tensor]) -> Padim:
    """The inverse of `to_tensors`. Raises KeyError where a tensor is missing."""
    return Padim(tensors["padim.dimensions"], tensors["padim.mean"], tensors["padim.factor"])
