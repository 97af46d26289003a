"""The stages of a detector fit."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.backbone.feature_file import FeatureFile
from ml_engine.core.bank import detectors, memory_bank
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import in_memory, pipeline
from ml_engine.core.film import canonical_films, masking
from ml_engine.core.score import calibration, fusion, model_selection
from ml_engine.engine import manifest
from ml_engine.engine.describe_detector import describe
from ml_engine.engine.fit_scores import FitScore, FitScores
from ml_engine.engine.reports import NegativeControls, PartCounts, SuspectFilm
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages.run_context import RunContext, require_films

SUSPECTS = 20  # fit films listed on a detector's page


def find_mask(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the hard mask from the mean aligned film of the fit part: mask.npy (h, w) bool."""
    errors = context.errors
    manifest.check_parts([row for k, row in enumerate(context.rows) if k not in errors], context.config)
    rows = context.readable("fit")
    require_films(rows, least=1, part="fit")
    inputs, affines = context.inputs(), context.read("input_from_canonical.npy")
    mean = canonical_films.mean_film(inputs, affines, rows=rows[: context.config.mask_images])
    mask = masking.hard_mask(mean, context.config)
    files.write_npy(context.path("mask.npy"), mask.keep)
    progress(1, 1)
    return {"threshold": mask.threshold, "share_kept": mask.share}


def extract(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the unmasked patch features of the fit part: features.npy (F * P, D) float16, film by film."""
    rows = context.readable("fit")
    per_film, wide = context.keep_features(rows, progress)
    return {"films": len(rows), "patches": per_film, "dimensions": wide}


def _fit_features(context: RunContext) -> tuple[FeatureFile, Source]:
    places = memory_bank.places_of(context.mask())
    source = Source(places, torch.from_numpy(context.readable("fit")))
    return context.fit_features(), source


def select(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the detector's model, for PatchCore its global and region banks: banks.safetensors."""
    features, source = _fit_features(context)
    model = detectors.fit_model(features, source, model_selection.at_highest_rate(context.config), progress=progress)
    files.write_tensors(context.path("banks.safetensors"), detectors.to_tensors(model), {})
    return {}


def calibrate(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the raw maps of normals under each candidate: calibration.npy (C, n, 2, h, w). They are of the calibrate
    part if there is one, otherwise of the fit part, each fold of patients scored by a model of the other folds; of no
    film with ``cross_fit`` off."""
    rows = context.readable("calibrate")
    if len(rows):
        files.write_npy(context.path("calibration.npy"), _maps(context, rows, progress))
        return {"source": "calibrate"}
    if not context.config.cross_fit:
        files.write_npy(context.path("calibration.npy"), pipeline.no_maps(context.config, context.mask()))
        return {"source": pipeline.UNCALIBRATED}
    folds = _folds(context)
    files.write_npy(context.path("calibration.npy"), _fold_maps(context, folds, context.config, progress))
    return {"source": in_memory.fold_words(folds)}


def _folds(context: RunContext) -> NDArray[np.int64]:
    """The fold of each fit film."""
    patients = [context.rows[k].patient or f"row {k}" for k in context.readable("fit")]
    return calibration.patient_folds(patients, folds=context.config.folds, seed=context.config.seed)


def _fold_maps(
    context: RunContext, folds: NDArray[np.int64], config: PipelineConfig, progress: StageProgress
) -> fusion.Maps:
    features, source = _fit_features(context)
    return in_memory.fold_maps(
        features, source, folds, keep=context.mask(), config=config, device=context.device, progress=progress
    )


def tune(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Choose the free settings on the tune part. Writes the raw maps of its normal and abnormal films under each
    candidate: tune.npy (C, n, 2, h, w)."""
    rows = np.array([k for k in context.readable("tune") if context.rows[k].label in ("normal", "abnormal")], np.int64)
    if not model_selection.is_free(context.config):
        if context.keeps_features:  # grow and forget need the features of all films
            deque(context.features_of(rows, progress), maxlen=0)
        rows = rows[:0]
    files.write_npy(context.path("tune.npy"), _maps(context, rows, progress))
    abnormal = np.array([context.rows[k].label == "abnormal" for k in rows], dtype=np.bool_)
    patients = [context.rows[k].patient or f"row {k}" for k in rows]
    maps = context.read("tune.npy")
    choice = pipeline.choose(maps, abnormal, _calibrated(context), context.config, patients=patients)
    return {"choice": model_selection.to_json(choice)}


def _calibrated(context: RunContext) -> list[pipeline.Calibration]:
    """The calibration of each candidate."""
    source = context.folder.summary("calibrate")["source"]
    return [
        pipeline.calibrate(
            maps, source=source, config=context.config, patients=_calibration_patients(context)[: len(maps)]
        )
        for maps in context.read("calibration.npy")
    ]


def _calibration_patients(context: RunContext) -> NDArray[np.int64]:
    rows = context.readable("calibrate")
    rows = rows if len(rows) else context.readable("fit")
    return calibration.patient_numbers([context.rows[k].patient or f"row {k}" for k in rows.tolist()])


def _choice(context: RunContext) -> model_selection.Choice:
    return model_selection.from_json(context.folder.summary("tune")["choice"])


def _maps(context: RunContext, rows: NDArray[np.int64], progress: StageProgress) -> fusion.Maps:
    """Raw maps (C, n, 2, h, w) of the films at ``rows`` against the run's model, under each candidate."""
    scorers = model_selection.Scorers(
        _model(context), context.mask(), context.config, context.device, films=len(context.readable("fit"))
    )
    maps = [scorers.film_maps(batch) for _, batch in context.features_of(rows, progress)]
    no_maps = np.zeros((len(model_selection.candidates(context.config)), 0, 2, *context.mask().shape), np.float32)
    return np.concatenate(maps, axis=1) if maps else no_maps


def _model(context: RunContext) -> detectors.Model:
    tensors, _ = files.read_tensors(context.path("banks.safetensors"))
    return detectors.from_tensors(tensors, context.config)


def cross_fit(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the fit films' own maps, each from a model of the other folds' patients with the chosen settings:
    fit_maps.npy (F, 2, h, w). Takes the calibration maps if they were made by folds."""
    folds, choice = _folds(context), _choice(context)
    if not context.config.cross_fit or folds.max() == 0:
        return {"folds": 0}
    if len(context.readable("calibrate")):
        candidate = model_selection.candidates(context.config)[choice.candidate]
        config = model_selection.restrict_to(context.config, candidate)
        maps = _fold_maps(context, folds, config, progress)[0]
    else:
        maps = context.read("calibration.npy")[choice.candidate]
    files.write_npy(context.path("fit_maps.npy"), maps)
    return {"folds": int(folds.max()) + 1}


def assembled(context: RunContext) -> pipeline.FittedDetector:
    """The run's detector, once the stages of `cross_fit` and before are done."""
    config = context.config
    return pipeline.assemble(
        config,
        _model(context),
        masking.HardMask(context.mask(), context.folder.summary("mask")["threshold"]),
        films=len(context.readable("fit")),
        calibrated=_calibrated(context),
        choice=_choice(context),
        weights=context.backbone.to_json(),
        alignment_sha256=(context.spec.inputs or {}).get("alignment") if config.align == "network" else None,
    )


def write_results(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes detector.safetensors, detector.json, mask.npy; with cross-fitting also fit_maps.npy and fit_scores.csv."""
    folder, detector = context.folder, assembled(context)
    controls = folder.summary("controls")
    pipeline.save_detector(detector, folder.path / "detector.safetensors")
    files.write_npy(folder.path / "mask.npy", context.mask())
    describe(
        detector,
        parts=PartCounts.of(context.rows),
        flagged=folder.summary("align")["flagged"],
        unreadable=folder.summary("films")["errors"],
        suspects=_write_fit_scores(context, detector),
        controls=NegativeControls.from_json(controls) if controls else None,
        by_hand=folder.summary("align").get("by_hand", []),
    ).write(folder.path)
    return {}


def _write_fit_scores(context: RunContext, detector: pipeline.FittedDetector) -> list[SuspectFilm]:
    """Write fit_maps.npy and fit_scores.csv, one line per fit film in the manifest's order, and return the most suspect
    films, highest score first. Without cross-fitting, write nothing and return an empty list."""
    if not context.folder.summary("crossfit")["folds"]:
        return []
    scores, folds = pipeline.cross_fitted_scores(context.read("fit_maps.npy"), detector), _folds(context)
    p_values = calibration.p_values_among(scores.fused)
    films = [
        FitScore(
            image=context.rows[row].image,
            filename=context.rows[row].filename,
            fold=int(folds[k]),
            whole=float(scores.whole[k]),
            region=float(scores.region[k]),
            fused=float(scores.fused[k]),
            p_value=float(p_values[k]),
        )
        for k, row in enumerate(context.readable("fit").tolist())
    ]
    FitScores(context.folder.path).write(films, context.path("fit_maps.npy"))
    highest = [films[k] for k in np.argsort(-scores.fused, kind="stable")[:SUSPECTS].tolist()]
    return [
        SuspectFilm(image=film.image, filename=film.filename, fused=film.fused, p_value=film.p_value)
        for film in highest
    ]
