"""One interface to all kinds of detector: fitted on patch features, they give two maps per film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.backbone.feature_file import Features
from ml_engine.core.bank import memory_bank, nearest_films, padim
from ml_engine.core.bank.memory_bank import Banks, MapScorer, Progress, Source
from ml_engine.core.bank.nearest_films import Gallery, NearestFilmsScorer
from ml_engine.core.bank.padim import Padim, PadimScorer
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import IncompatibleModel

Model = Banks | Padim | Gallery


class Scorer(Protocol):
    """``places`` int64 (P, 2): row and column of the patches whose features `maps` takes, row by row."""

    places: Tensor

    def maps(self, features: Tensor) -> NDArray[np.float32]:
        """Raw maps float32 (2, h, w) of one film from its features float32 (P, D): channel 0 global, channel 1 region;
        NaN where masked."""

    def film_maps(self, films: Tensor) -> NDArray[np.float32]:
        """`maps` of several films (B, P, D), float32 (B, 2, h, w)."""


@dataclass(frozen=True)
class _Baseline:
    """A published detector beside PatchCore: the type of its model and the functions of its module."""

    model: type
    fit: Callable[..., Model]
    scorer: Callable[[Any, NDArray[np.bool_], PipelineConfig, torch.device], Scorer]
    to_tensors: Callable[[Any], dict[str, Tensor]]
    from_tensors: Callable[[dict[str, Tensor]], Model]


_GALLERY = _Baseline(
    Gallery, nearest_films.fit, NearestFilmsScorer, nearest_films.to_tensors, nearest_films.from_tensors
)
# By the name in `detector_kinds.KINDS`; every other kind is PatchCore.
_BASELINES = {
    "padim": _Baseline(Padim, padim.fit, PadimScorer, padim.to_tensors, padim.from_tensors),
    "spade": _GALLERY,
    "dn2": _GALLERY,
}


def _baseline_of(model: Model) -> _Baseline | None:
    return next((baseline for baseline in _BASELINES.values() if isinstance(model, baseline.model)), None)


def fit_model(
    features: Features,
    source: Source,
    config: PipelineConfig,
    *,
    films: Tensor | None = None,
    with_radius: bool = True,
    grid: Tensor | None = None,
    progress: Progress | None = None,
) -> Model:
    """A model of the kind ``config.detector``.

    ``features`` float32 (F * P, D) are arranged as in `Source`; ``films`` int64 restricts the fit to these of the F
    films. Without ``with_radius`` no covering radius is computed; banks are selected from ``grid``, the
    `memory_bank.shared_grid` of the features, if there is one. Raises EmptyBank where no patch or film is left,
    InvalidConfig for a model that would be too large.
    """
    if baseline := _BASELINES.get(config.detector):
        return baseline.fit(features, source, config, films=films, progress=progress)
    return memory_bank.build(
        features, source, config, films=films, with_radius=with_radius, grid=grid, progress=progress
    )


def scorer_of(model: Model, keep: NDArray[np.bool_], config: PipelineConfig, device: torch.device) -> Scorer:
    """The scorer of a model; ``keep`` bool (h, w) is the hard mask with which it was fitted."""
    if baseline := _baseline_of(model):
        return baseline.scorer(model, keep, config, device)
    assert isinstance(model, Banks)
    return MapScorer(model, keep, config, device)


def to_tensors(model: Model) -> dict[str, Tensor]:
    """The model as named tensors."""
    if baseline := _baseline_of(model):
        return baseline.to_tensors(model)
    assert isinstance(model, Banks)
    return memory_bank.to_tensors(model)


def from_tensors(tensors: dict[str, Tensor], config: PipelineConfig) -> Model:
    """The inverse of `to_tensors`. Raises IncompatibleModel where tensors are missing or do not fit together."""
    baseline = _BASELINES.get(config.detector)
    if baseline is None:
        return memory_bank.from_tensors(tensors)
    try:
        return baseline.from_tensors(tensors)
    except KeyError as missing:
        raise IncompatibleModel(f"The detector file has no {missing.args[0]}: fit the detector again.") from None
