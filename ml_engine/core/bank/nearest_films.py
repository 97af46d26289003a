"""DN2 and SPADE: the distance of a film to the nearest whole films, and of its patches to the patches of those films.

DN2: Bergman, Cohen & Hoshen 2020, arXiv 2002.10445. SPADE: Cohen & Hoshen 2020, arXiv 2005.02357.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.backbone.feature_file import Features
from ml_engine.core.bank.memory_bank import Progress, Source, places_of
from ml_engine.core.bank.nearest_search import NearestSearch, patch_scores
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EmptyBank, IncompatibleModel, InvalidConfig

PUBLISHED = {"dn2": 2, "spade": 50}  # the published number of nearest films
LARGEST = 2**32  # maximum size of the patch features that SPADE keeps, in bytes


@dataclass(frozen=True)
class Gallery:
    """The features of the fit films.

    ``films`` float32 (F, D) are the means over the patches that the mask keeps; ``patches`` float32 (F, P, D) the
    features of all these patches, empty for DN2, which compares whole films only; ``rows`` int64 (F,) is each film's
    row in the manifest.
    """

    films: Tensor
    patches: Tensor
    rows: Tensor


def fit(
    features: Features,
    source: Source,
    config: PipelineConfig,
    *,
    films: Tensor | None = None,
    progress: Progress | None = None,
) -> Gallery:
    """The gallery of the fit films: their features are the model.

    ``features`` float32 (F * P, D) are arranged as in `Source`; ``films`` int64 restricts the gallery to these of the F
    films. Raises EmptyBank where no patch or film is left, InvalidConfig where SPADE's patches would take more than
    4 GiB.
    """
    per_film, wide = len(source.places), features.shape[1]
    chosen = torch.arange(len(source.films)) if films is None else films
    if per_film == 0 or len(chosen) == 0:
        raise EmptyBank("No patch is left to compare films by: check the hard mask and the fit part.")
    needed = 4 * len(chosen) * per_film * wide
    if config.detector == "spade" and needed > LARGEST:
        raise InvalidConfig(
            f"detector is spade, which keeps all patches of {len(chosen)} films, here {needed / 2**30:.1f} GiB, and at "
            f"most {LARGEST / 2**30:.0f} GiB is allowed: choose fewer layers, a smaller size, or dn2."
        )
    by_film = (features[film * per_film : (film + 1) * per_film] for film in chosen.tolist())
    patches = torch.zeros(len(chosen) if config.detector == "spade" else 0, per_film, wide)
    means = torch.zeros(len(chosen), wide)
    for number, film in enumerate(by_film):
        means[number] = _mean(film)
        if len(patches):
            patches[number] = film
    return Gallery(means, patches, source.films[chosen])


def _mean(features: Tensor) -> Tensor:
    """The feature of a whole film, float32 (D,), from its patches (P, D), summed in float64."""
    return features.double().mean(0).float()


class NearestFilmsScorer:
    """Computes a film's maps from its patch features.

    Channel 0 holds the same number at every patch, so that any image score returns it: the mean distance of the whole
    film to its K nearest fit films (``film_neighbours``; published: 2 for DN2, 50 for SPADE). Channel 1 equals it for
    DN2. For SPADE it is each patch's mean distance to its ``neighbours`` nearest patches among all patches of those K
    films. ``distance`` selects L2 or squared L2; the publications use squared L2. Whole films are compared by the mean
    of their patch features (our choice; the publications pool the last layer).
    """

    def __init__(self, model: Gallery, keep: NDArray[np.bool_], config: PipelineConfig, device: torch.device) -> None:
        self.places, self.config, self.device = places_of(keep), config, device
        self.patches = model.patches
        if config.detector == "spade" and model.patches.shape[1] != len(self.places):
            raise IncompatibleModel("The SPADE detector's places are not those of its mask: fit it again.")
        self.films = NearestSearch(model.films.to(device))
        wanted = config.film_neighbours or PUBLISHED[config.detector]
        self.count = min(wanted, len(model.films))

    def maps(self, features: Tensor) -> NDArray[np.float32]:
        """Maps (2, h, w) float32 of one film from its features (P, D) float32; NaN where masked."""
        config, side = self.config, self.config.patches
        squared, nearest = self.nearest_films(features)
        score = float((squared if config.distance == "squared" else squared.sqrt()).mean())
        maps = torch.full((2, side, side), math.nan)
        rows, columns = self.places[:, 0], self.places[:, 1]
        maps[:, rows, columns] = score
        if config.detector == "spade":
            gallery = self.patches[nearest.sort().values.cpu()].flatten(0, 1).to(self.device)
            search = NearestSearch(gallery, search=config.search)
            scores = patch_scores(
                features.to(self.device), search, neighbours=config.neighbours, distance=config.distance
            )
            maps[1, rows, columns] = scores.cpu()
        return maps.numpy()

    def film_maps(self, films: Tensor) -> NDArray[np.float32]:
        """`maps` of several films (B, P, D), float32 (B, 2, h, w)."""
        return np.stack([self.maps(film) for film in films])

    def nearest_films(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Squared L2 distances float32 (K,) and gallery indices int64 (K,) of the nearest fit films, nearest first."""
        squared, nearest = self.films.squared_distances(self.film_feature(features), self.count)
        return squared[0], nearest[0]

    def film_feature(self, features: Tensor) -> Tensor:
        """The feature of the whole film, float32 (1, D), to compare with those of the fit films."""
        return _mean(features).to(self.device)[None]


def to_tensors(model: Gallery) -> dict[str, Tensor]:
    """The gallery as named tensors."""
    return {"gallery.films": model.films, "gallery.patches": model.patches, "gallery.rows": model.rows}


def from_tensors(tensors: dict[str, Tensor]) -> Gallery:
    """The inverse of `to_tensors`. Raises KeyError where a tensor is missing."""
    return Gallery(tensors["gallery.films"], tensors["gallery.patches"], tensors["gallery.rows"])
