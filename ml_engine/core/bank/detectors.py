"""The kinds of detector behind one seam: fitted on patch features, giving two maps a film."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.bank import memory_bank, nearest_films, padim
from ml_engine.core.bank.memory_bank import Banks, MapScorer, Progress, Source
from ml_engine.core.bank.nearest_films import Gallery, NearestFilmsScorer
from ml_engine.core.bank.padim import Padim, PadimScorer
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import IncompatibleModel

Model = Banks | Padim | Gallery
NOTES = {
    "padim": "PaDiM has one map: the fusion weight changes nothing.",
    "dn2": "DN2 gives one number a film and no map: the fusion weight changes nothing.",
    "spade": "SPADE compares whole films (weight 0, its image score) and patches (weight 1, its map).",
}


class Scorer(Protocol):
    """``places`` (P, 2) int64: the patches whose features `maps` takes, row by row."""

    places: Tensor

    def maps(self, features: Tensor) -> NDArray[np.float32]:
        """Raw maps (2, h, w) of one film, channel 0 global, 1 region, from its features (P, D) float32; NaN where
        masked."""


def fit_model(
    features: Tensor,
    source: Source,
    config: PipelineConfig,
    *,
    films: Tensor | None = None,
    with_radius: bool = True,
    progress: Progress | None = None,
) -> Model:
    """A model of the kind ``config.detector``.

    ``features`` (F * P, D) float32 as `Source` says; ``films`` int64: only these of the F films. Raises EmptyBank
    where the mask or the films leave nothing, InvalidConfig for a model too large.
    """
    if config.detector == "padim":
        return padim.fit(features, source, config, films=films, progress=progress)
    if config.detector in nearest_films.PUBLISHED:
        return nearest_films.fit(features, source, config, films=films)
    return memory_bank.build(features, source, config, films=films, with_radius=with_radius, progress=progress)


def scorer_of(model: Model, keep: NDArray[np.bool_], config: PipelineConfig, device: torch.device) -> Scorer:
    """What turns patch features into maps; ``keep`` (h, w) is the hard mask that the model was fitted under."""
    if isinstance(model, Padim):
        return PadimScorer(model, keep, config, device)
    if isinstance(model, Gallery):
        return NearestFilmsScorer(model, keep, config, device)
    return MapScorer(model, keep, config, device)


def to_tensors(model: Model) -> dict[str, Tensor]:
    """The model as named tensors."""
    if isinstance(model, Padim):
        return padim.to_tensors(model)
    if isinstance(model, Gallery):
        return nearest_films.to_tensors(model)
    return memory_bank.to_tensors(model)


def from_tensors(tensors: dict[str, Tensor], config: PipelineConfig) -> Model:
    """The reverse of `to_tensors`. Raises IncompatibleModel where one is missing or they do not fit."""
    try:
        if config.detector == "padim":
            return padim.from_tensors(tensors)
        if config.detector in nearest_films.PUBLISHED:
            return nearest_films.from_tensors(tensors)
    except KeyError as missing:
        raise IncompatibleModel(f"The detector has no {missing.args[0]}: make it again.") from None
    return memory_bank.from_tensors(tensors)
