"""A detector fitted on films in memory and applied to them; the stages of a run folder do the same on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import determinism
from ml_engine.core.alignment.batches import spans
from ml_engine.core.arrays import Array, as_tensor
from ml_engine.core.backbone import networks, weights
from ml_engine.core.backbone.feature_file import Features
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
    """A detector for use from Python: fitted on arrays, scoring arrays, saved as one file."""

    @classmethod
    def fit(
        cls,
        normals: Array,
        config: PipelineConfig,
        *,
        patients: Sequence[str] | None = None,
        calibrate: Array | None = None,
        tune: Array | None = None,
        abnormal: NDArray[np.bool_] | None = None,
        tune_patients: Sequence[str] | None = None,
        calibrate_patients: Sequence[str] | None = None,
    ) -> Detector:
        """A detector fitted on normal films in memory, tensors or arrays of NumPy.

        ``normals``, ``calibrate`` (normal films for calibration only) and ``tune`` are float32 (N, S, S) in [0, 1] with
        S = ``config.size``; films are not aligned here. ``abnormal`` bool (N,) are the labels of ``tune``, and
        ``tune_patients`` and ``calibrate_patients`` the patients of these parts. Without ``calibrate``, cross-fitted
        folds of the fit films are used for calibration, by ``patients`` (one name per film) if given; with
        ``config.cross_fit`` off nothing is calibrated, which needs ``standardise`` off and a film score other than
        mean+top. The backbone's
        weights come from the weights folder. Raises EngineError, and ValueError for films of another shape.
        """
        fitted = _fit(
            as_tensor(normals, name="normals"),
            config,
            patients=patients,
            calibrate=None if calibrate is None else as_tensor(calibrate, name="calibrate"),
            tune=None if tune is None else as_tensor(tune, name="tune"),
            abnormal=abnormal,
            tune_patients=tune_patients,
            calibrate_patients=calibrate_patients,
        )
        return cls(**vars(fitted))

    def maps(self, films: Array) -> Maps:
        """Raw maps float32 (N, 2, h, w) of aligned films float32 (N, S, S) in [0, 1], a tensor or an array of NumPy.

        Channel 0 is global, channel 1 region; NaN where masked. Raises ValueError for films of another shape and
        IncompatibleModel where the backbone's weights are not those of the fit.
        """
        return _maps_against(self, as_tensor(films, name="films"))

    def save(self, path: str | Path) -> None:
        """Write the detector as a safetensors file; `load` restores an equal one."""
        pipeline.save_detector(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Detector:
        """The detector of a file. Raises IncompatibleModel for any other file or format."""
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
    calibrate_patients: Sequence[str] | None = None,
) -> FittedDetector:
    _check(normals, config)
    if calibrate is None:
        calibration.require_calibration(config)
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
        raw, calibration_source = _maps_of(calibrate, extractor, scorers), "calibrate"
        names = _names(calibrate_patients, len(calibrate))
    elif not config.cross_fit:
        raw, calibration_source, names = pipeline.no_maps(config, mask.keep), pipeline.UNCALIBRATED, []
    else:
        names = _names(patients, len(normals))
        folds = calibration.patient_folds(names, folds=config.folds, seed=config.seed)
        raw = fold_maps(features, source, folds, keep=mask.keep, config=config, device=device)
        calibration_source = fold_words(folds)
    numbers = calibration.patient_numbers(names)
    calibrated = [
        pipeline.calibrate(maps, source=calibration_source, config=config, patients=numbers[: len(maps)])
        for maps in raw
    ]
    choice = Choice(config.fusion_weight, "config")
    if tune is not None and abnormal is not None:
        names = _names(tune_patients, len(tune))
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


def _names(patients: Sequence[str] | None, films: int) -> list[str]:
    """The patient of each film; without patients each film is its own."""
    return list(patients) if patients is not None else [str(k) for k in range(films)]


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
    features = extractor.patches(films[:, None].float(), scorer.places)
    return np.concatenate([scorer.film_maps(part) for part in features.split(extractor.config.batch)])


def _maps_of(films: Tensor, extractor: FeatureExtractor, scorers: Scorers) -> Maps:
    """Raw maps float32 (C, N, 2, h, w) of films (N, S, S) under each candidate."""
    _check(films, extractor.config)
    features = extractor.patches(films[:, None].float(), scorers.places)
    return np.concatenate([scorers.film_maps(part) for part in features.split(extractor.config.batch)], axis=1)


def fold_words(folds: NDArray[np.int64]) -> str:
    """The description of the films that are used in place of the calibrate part."""
    count = int(folds.max()) + 1
    return f"fit, {count} folds of patients" if count > 1 else "none: the fit part has one patient"


def fold_maps(
    features: Features,
    source: Source,
    folds: NDArray[np.int64],
    *,
    keep: NDArray[np.bool_],
    config: PipelineConfig,
    device: torch.device,
    progress: Progress | None = None,
) -> Maps:
    """Cross-fitted raw maps of the fit films under each candidate, float32 (C, F, 2, h, w).

    The films of each fold are scored by a model of the other folds. ``features`` float32 (F * P, D) are arranged as in
    `Source`, ``folds`` int64 (F,) is the fold of each film, ``keep`` bool (h, w) the hard mask. With a single fold the
    result is empty, (C, 0, 2, h, w).
    """
    count, wide = int(folds.max()) + 1, len(model_selection.candidates(config))
    if count == 1:
        return pipeline.no_maps(config, keep)
    per_film = len(source.places)
    maps = np.full((wide, len(folds), 2, *keep.shape), np.nan, dtype=np.float32)
    on_device = features.to(device)  # once, not for each fold
    grid = memory_bank.shared_grid(on_device, source) if config.detector == "patchcore" else None
    done = 0
    for fold in range(count):
        others = torch.from_numpy(np.flatnonzero(folds != fold))
        model = detectors.fit_model(
            on_device,
            source,
            model_selection.at_highest_rate(config),
            films=others,
            with_radius=False,
            grid=grid,
        )
        scorers = Scorers(model, keep, config, device, films=len(others))
        own = np.flatnonzero(folds == fold)
        for at in spans(len(own), config.batch):
            batch = torch.stack([features[film * per_film : (film + 1) * per_film] for film in own[at]])
            maps[:, own[at]] = scorers.film_maps(batch)
            done += len(batch)
            if progress:
                progress(done, len(folds))
        del model, scorers
        determinism.give_back_memory()  # or the heap grows with each fold, whose blocks are of other sizes
    return maps
