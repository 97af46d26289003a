"""A detector fitted and used on films in memory: what the stages of a run folder do on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import determinism
from ml_engine.core.backbone import networks, weights
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank import detectors, memory_bank
from ml_engine.core.bank.detectors import Scorer
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.errors import IncompatibleModel
from ml_engine.core.film import masking
from ml_engine.core.score import calibration, model_selection
from ml_engine.core.score.fusion import Maps
from ml_engine.core.score.model_selection import Choice, Scorers

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Detector(FittedDetector):
    """A detector for use from Python: fitted on arrays, scoring arrays, kept as one file."""

    @classmethod
    def fit(
        cls,
        normals: Tensor,
        config: PipelineConfig,
        *,
        patients: Sequence[str] | None = None,
        calibrate: Tensor | None = None,
        tune: Tensor | None = None,
        abnormal: NDArray[np.bool_] | None = None,
        tune_patients: Sequence[str] | None = None,
    ) -> Detector:
        """A detector fitted on films in memory; a run folder does the same on disk, with progress and resuming.

        ``normals``, ``calibrate`` (normals that are not fitted on) and ``tune`` are float32 (N, S, S) in [0, 1],
        S = ``config.size``, aligned already where they are to be; ``abnormal`` bool (N,) are the labels of ``tune``,
        ``tune_patients`` its patients' names.
        Without ``calibrate``, folds of the fit films stand in, by ``patients`` (one name a film) where given. The
        backbone's weights come from the weights folder. Raises EngineError, ValueError for films of another shape.
        """
        fitted = _fit(
            normals,
            config,
            patients=patients,
            calibrate=calibrate,
            tune=tune,
            abnormal=abnormal,
            tune_patients=tune_patients,
        )
        return cls(**vars(fitted))

    def maps(self, films: Tensor) -> Maps:
        """Raw maps float32 (N, 2, h, w) of aligned films (N, S, S): channel 0 global, 1 region, NaN where masked."""
        return _maps_against(self, films)

    def save(self, path: str | Path) -> None:
        """Write it as safetensors; `load` gives an equal one back."""
        pipeline.save_detector(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Detector:
        """Raises IncompatibleModel for a file of another kind or format."""
        return cls(**vars(pipeline.load_detector(Path(path))))


def _fit(
    normals: Tensor,
    config: PipelineConfig,
    *,
    patients: Sequence[str] | None,
    calibrate: Tensor | None,
    tune: Tensor | None,
    abnormal: NDArray[np.bool_] | None,
    tune_patients: Sequence[str] | None = None,
) -> FittedDetector:
    _check(normals, config)
    device = determinism.device_for(config.device)
    backbone = _backbone(config)
    extractor = FeatureExtractor(config, backbone.state, device)
    mask = masking.hard_mask(normals[: config.mask_images].double().mean(0).numpy(), config)
    places = memory_bank.places_of(mask.keep)
    features = extractor.patches(normals[:, None], places).flatten(0, 1)  # (N * P, D)
    source = Source(places, torch.arange(len(normals)))
    model = detectors.fit_model(features.to(device), source, model_selection.at_highest_rate(config))
    scorers = Scorers(model, mask.keep, config, device, films=len(normals))
    if calibrate is not None:
        raw, words = _maps_of(calibrate, extractor, scorers), "calibrate"
    else:
        names = list(patients) if patients is not None else [str(k) for k in range(len(normals))]
        folds = calibration.patient_folds(names, folds=config.folds, seed=config.seed)
        raw = fold_maps(features, source, folds, keep=mask.keep, config=config, device=device)
        words = fold_words(folds)
    calibrated = [pipeline.calibrate(one, source=words, config=config) for one in raw]
    choice = Choice(config.fusion_weight, "config")
    if tune is not None and abnormal is not None:
        names = list(tune_patients) if tune_patients is not None else [str(k) for k in range(len(tune))]
        choice = pipeline.choose(_maps_of(tune, extractor, scorers), abnormal, calibrated, config, patients=names)
    return pipeline.assemble(
        config,
        model,
        mask,
        films=len(normals),
        calibrated=calibrated,
        choice=choice,
        weights=backbone.to_json(),
        alignment_sha256=None,
    )


def _maps_against(detector: FittedDetector, films: Tensor) -> Maps:
    config = detector.config
    backbone = _backbone(config)
    if detector.weights["sha256"] not in (None, backbone.sha256):
        raise IncompatibleModel(
            f"The weights {config.weights} on this machine are not those that the detector was fitted with (SHA-256 "
            f"{str(detector.weights['sha256'])[:8]}): import the right file."
        )
    device = determinism.device_for(config.device)
    scorer = detectors.scorer_of(detector.model, detector.mask.keep, config, device)
    return _maps(films, FeatureExtractor(config, backbone.state, device), scorer)


def _check(films: Tensor, config: PipelineConfig) -> None:
    if films.ndim != 3 or films.shape[1:] != (config.size, config.size) or len(films) == 0:
        raise ValueError(f"films are {tuple(films.shape)}: expected (N, {config.size}, {config.size}), N at least 1")


def _backbone(config: PipelineConfig) -> weights.Weights:
    networks.require(config)
    return weights.load_backbone(config.weights, config.backbone, seed=config.seed, folder=weights.default_folder())


def _maps(films: Tensor, extractor: FeatureExtractor, scorer: Scorer) -> Maps:
    _check(films, extractor.config)
    return np.stack([scorer.maps(film) for film in extractor.patches(films[:, None].float(), scorer.places)])


def _maps_of(films: Tensor, extractor: FeatureExtractor, scorers: Scorers) -> Maps:
    """Raw maps (C, N, 2, h, w) of films (N, S, S) under each candidate."""
    _check(films, extractor.config)
    found = [scorers.maps(film) for film in extractor.patches(films[:, None].float(), scorers.places)]
    return np.stack(found, axis=1)


def fold_words(folds: NDArray[np.int64]) -> str:
    """Which films stand in for the calibrate part, in words."""
    count = int(folds.max()) + 1
    return f"fit, {count} folds of patients" if count > 1 else "none: the fit part has one patient"


def fold_maps(
    features: Tensor,
    source: Source,
    folds: NDArray[np.int64],
    *,
    keep: NDArray[np.bool_],
    config: PipelineConfig,
    device: torch.device,
    progress: Progress | None = None,
) -> Maps:
    """Cross-fitted raw maps of the fit films, float32 (C, F, 2, h, w), by candidate: each fold's against a model of the
    other folds.

    ``features`` (F * P, D) as `Source` says, ``folds`` (F,). None, (C, 0, 2, h, w), where all are in one fold.
    """
    count, wide = int(folds.max()) + 1, len(model_selection.candidates(config))
    if count == 1:
        return np.zeros((wide, 0, 2, *keep.shape), np.float32)
    per_film = len(source.places)
    found = np.full((wide, len(folds), 2, *keep.shape), np.nan, dtype=np.float32)
    done = 0
    for fold in range(count):
        others = torch.from_numpy(np.flatnonzero(folds != fold))
        model = detectors.fit_model(
            features.to(device), source, model_selection.at_highest_rate(config), films=others, with_radius=False
        )
        scorers = Scorers(model, keep, config, device, films=len(others))
        for film in np.flatnonzero(folds == fold):
            found[:, film] = scorers.maps(features[film * per_film : (film + 1) * per_film])
            done += 1
            if progress:
                progress(done, len(folds))
    return found
