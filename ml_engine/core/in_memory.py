"""A detector fitted and used on films in memory: what the stages of a run folder do on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import calibration, detectors, determinism, masking, memory_bank, pipeline, weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detectors import Scorer
from ml_engine.core.errors import IncompatibleModel
from ml_engine.core.features import FeatureExtractor
from ml_engine.core.fusion import Maps
from ml_engine.core.memory_bank import Source
from ml_engine.core.pipeline import Calibration, Choice, Detector
from ml_engine.core.version import code_version

Progress = Callable[[int, int], None]


def fit(
    normals: Tensor,
    config: PipelineConfig,
    *,
    patients: Sequence[str] | None,
    calibrate: Tensor | None,
    tune: Tensor | None,
    abnormal: NDArray[np.bool_] | None,
) -> Detector:
    """See `Detector.fit`."""
    _check(normals, config)
    device = determinism.device_for(config.device)
    backbone = _backbone(config)
    extractor = FeatureExtractor(config, backbone.state, device)
    mask = masking.hard_mask(normals[: config.mask_images].double().mean(0).numpy(), config)
    places = memory_bank.places_of(mask.keep)
    features = extractor.patches(normals[:, None], places).flatten(0, 1)  # (N * P, D)
    source = Source(places, torch.arange(len(normals)))
    model = detectors.fit_model(features.to(device), source, config)
    scorer = detectors.scorer_of(model, mask.keep, config, device)

    if calibrate is not None:
        calibrated = pipeline.calibrate(_maps(calibrate, extractor, scorer), source="calibrate", config=config)
    else:
        names = list(patients) if patients is not None else [str(k) for k in range(len(normals))]
        calibrated = _calibrated_by_folds(features, source, names, mask.keep, config, device)
    choice = Choice(config.fusion_weight, "config")
    if tune is not None and abnormal is not None:
        choice = pipeline.choose(_maps(tune, extractor, scorer), abnormal, calibrated, config)
    return Detector(config, mask, model, calibrated, choice, backbone.to_json(), None, code_version())


def maps(detector: Detector, films: Tensor) -> Maps:
    """See `Detector.maps`."""
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
    return weights.load_backbone(config.weights, config.backbone, seed=config.seed, folder=weights.default_folder())


def _maps(films: Tensor, extractor: FeatureExtractor, scorer: Scorer) -> Maps:
    _check(films, extractor.config)
    return np.stack([scorer.maps(film) for film in extractor.patches(films[:, None].float(), scorer.places)])


def _calibrated_by_folds(
    features: Tensor,
    source: Source,
    patients: list[str],
    keep: NDArray[np.bool_],
    config: PipelineConfig,
    device: torch.device,
) -> Calibration:
    folds = calibration.patient_folds(patients, folds=config.folds, seed=config.seed)
    raw = fold_maps(features, source, folds, keep, config, device)
    return pipeline.calibrate(raw, source=fold_words(folds), config=config)


def fold_words(folds: NDArray[np.int64]) -> str:
    """Which films stand in for the calibrate part, in words."""
    count = int(folds.max()) + 1
    return f"fit, {count} folds of patients" if count > 1 else "none: the fit part has one patient"


def fold_maps(
    features: Tensor,
    source: Source,
    folds: NDArray[np.int64],
    keep: NDArray[np.bool_],
    config: PipelineConfig,
    device: torch.device,
    *,
    progress: Progress | None = None,
) -> Maps:
    """Cross-fitted raw maps of the fit films, float32 (F, 2, h, w): each fold's against a model of the other folds.

    ``features`` (F * P, D) as `Source` says, ``folds`` (F,). None, (0, 2, h, w), where all are in one fold.
    """
    count = int(folds.max()) + 1
    if count == 1:
        return np.zeros((0, 2, *keep.shape), np.float32)
    per_film = len(source.places)
    found = np.full((len(folds), 2, *keep.shape), np.nan, dtype=np.float32)
    done = 0
    for fold in range(count):
        others = torch.from_numpy(np.flatnonzero(folds != fold))
        model = detectors.fit_model(features.to(device), source, config, films=others, with_radius=False)
        scorer = detectors.scorer_of(model, keep, config, device)
        for film in np.flatnonzero(folds == fold):
            found[film] = scorer.maps(features[film * per_film : (film + 1) * per_film])
            done += 1
            if progress:
                progress(done, len(folds))
    return found
