"""The stages of a detector fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.bank import detectors, memory_bank
from ml_engine.core.bank.memory_bank import Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import in_memory, pipeline
from ml_engine.core.film import canonical_films, masking
from ml_engine.core.score import calibration, fusion, model_selection
from ml_engine.engine import manifest
from ml_engine.engine.describe_detector import describe
from ml_engine.engine.fit_scores import FitScore, FitScores
from ml_engine.engine.reports import PartCounts, SuspectFilm
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages.run_context import RunContext, require

SUSPECTS = 20  # fit films that a detector's page names


def find_mask(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The hard mask from the mean aligned film of the fit part: mask.npy (h, w) bool."""
    errors = work.errors
    manifest.check_parts([row for k, row in enumerate(work.rows) if k not in errors], work.config)
    rows = work.readable("fit")
    require(rows, least=1, part="fit")
    inputs, affines = files.open_npy(work.path("inputs.npy")), work.read("input_from_canonical.npy")
    mean = canonical_films.mean_film(inputs, affines, rows=rows[: work.config.mask_images])
    mask = masking.hard_mask(mean, work.config)
    files.write_npy(work.path("mask.npy"), mask.keep)
    report(1, 1)
    return {"threshold": mask.threshold, "share_kept": mask.share}


def extract(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The unmasked patch features of the fit part: features.npy (F * P, D) float32, film by film."""
    rows = work.readable("fit")
    batches = work.features_of(rows, report)
    _, first = next(batches)
    per_film, wide = first.shape[1:]

    def parts() -> Iterator[NDArray[np.float32]]:
        yield first.reshape(-1, wide).numpy()
        for _, batch in batches:
            yield batch.reshape(-1, wide).numpy()

    files.stream_npy(work.path("features.npy"), (len(rows) * per_film, wide), parts())
    return {"films": len(rows), "patches": per_film, "dimensions": wide}


def _fit_features(work: RunContext) -> tuple[torch.Tensor, Source]:
    places = memory_bank.places_of(work.mask())
    source = Source(places, torch.from_numpy(work.readable("fit")))
    return torch.from_numpy(files.open_npy(work.path("features.npy"))), source


def select(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The detector's model, of PatchCore its global and region banks: banks.safetensors."""
    features, source = _fit_features(work)
    model = detectors.fit_model(
        features.to(work.device), source, model_selection.at_highest_rate(work.config), progress=report
    )
    files.write_tensors(work.path("banks.safetensors"), detectors.to_tensors(model), {})
    return {}


def calibrate(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """Raw maps of normals under each candidate: calibration.npy (C, n, 2, h, w), of the calibrate part, else of the fit
    part by folds of patients, each scored against a model of the other folds."""
    rows = work.readable("calibrate")
    if len(rows):
        files.write_npy(work.path("calibration.npy"), _maps(work, rows, report))
        return {"source": "calibrate"}
    folds = _folds(work)
    files.write_npy(work.path("calibration.npy"), _fold_maps(work, folds, work.config, report))
    return {"source": in_memory.fold_words(folds)}


def _folds(work: RunContext) -> NDArray[np.int64]:
    """The fold of each fit film."""
    patients = [work.rows[k].patient or f"row {k}" for k in work.readable("fit")]
    return calibration.patient_folds(patients, folds=work.config.folds, seed=work.config.seed)


def _fold_maps(
    work: RunContext, folds: NDArray[np.int64], config: PipelineConfig, report: StageProgress
) -> fusion.Maps:
    features, source = _fit_features(work)
    return in_memory.fold_maps(
        features, source, folds, keep=work.mask(), config=config, device=work.device, progress=report
    )


def tune(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """What is chosen on the tune part, by the raw maps of its normal and abnormal films under each candidate: tune.npy
    (C, n, 2, h, w)."""
    rows = np.array([k for k in work.readable("tune") if work.rows[k].label in ("normal", "abnormal")], np.int64)
    if not model_selection.is_free(work.config):
        if work.keeps_features:  # grow and forget need those of all films, though nothing is chosen here
            deque(work.features_of(rows, report), maxlen=0)
        rows = rows[:0]
    files.write_npy(work.path("tune.npy"), _maps(work, rows, report))
    abnormal = np.array([work.rows[k].label == "abnormal" for k in rows], dtype=np.bool_)
    patients = [work.rows[k].patient or f"row {k}" for k in rows]
    choice = pipeline.choose(work.read("tune.npy"), abnormal, _calibrated(work), work.config, patients=patients)
    return {"choice": model_selection.to_json(choice)}


def _calibrated(work: RunContext) -> list[pipeline.Calibration]:
    """The calibration of each candidate."""
    source = work.folder.summary("calibrate")["source"]
    return [pipeline.calibrate(maps, source=source, config=work.config) for maps in work.read("calibration.npy")]


def _choice(work: RunContext) -> model_selection.Choice:
    return model_selection.from_json(work.folder.summary("tune")["choice"])


def _maps(work: RunContext, rows: NDArray[np.int64], report: StageProgress) -> fusion.Maps:
    """Raw maps (C, n, 2, h, w) of the films at ``rows`` against the run's model, under each candidate."""
    scorers = model_selection.Scorers(
        _model(work), work.mask(), work.config, work.device, films=len(work.readable("fit"))
    )
    maps = [scorers.maps(film) for _, batch in work.features_of(rows, report) for film in batch]
    none = np.zeros((len(model_selection.candidates(work.config)), 0, 2, *work.mask().shape), np.float32)
    return np.stack(maps, axis=1) if maps else none


def _model(work: RunContext) -> detectors.Model:
    tensors, _ = files.read_tensors(work.path("banks.safetensors"))
    return detectors.from_tensors(tensors, work.config)


def cross_fit(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The fit films' own scores, each by a model of the other folds' patients under what was chosen: fit_maps.npy
    (F, 2, h, w); those of the calibration where it was made so."""
    folds, choice = _folds(work), _choice(work)
    if not work.config.cross_fit or folds.max() == 0:
        return {"folds": 0}
    if len(work.readable("calibrate")):
        chosen = model_selection.restrict_to(work.config, model_selection.candidates(work.config)[choice.candidate])
        maps = _fold_maps(work, folds, chosen, report)[0]
    else:
        maps = work.read("calibration.npy")[choice.candidate]
    files.write_npy(work.path("fit_maps.npy"), maps)
    return {"folds": int(folds.max()) + 1}


def write_results(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """detector.safetensors, detector.json, mask.npy; fit_maps.npy and fit_scores.csv where films were cross-fitted."""
    folder, config = work.folder, work.config
    detector = pipeline.assemble(
        config,
        _model(work),
        masking.HardMask(work.mask(), folder.summary("mask")["threshold"]),
        films=len(work.readable("fit")),
        calibrated=_calibrated(work),
        choice=_choice(work),
        weights=work.backbone.to_json(),
        alignment_sha256=(work.request.inputs or {}).get("alignment") if config.align == "network" else None,
    )
    pipeline.save_detector(detector, folder.path / "detector.safetensors")
    files.write_npy(folder.path / "mask.npy", work.mask())
    describe(
        detector,
        parts=PartCounts.of(work.rows),
        flagged=folder.summary("align")["flagged"],
        unreadable=folder.summary("films")["errors"],
        suspects=_write_fit_scores(work, detector),
    ).write(folder.path)
    return {}


def _write_fit_scores(work: RunContext, detector: pipeline.FittedDetector) -> list[SuspectFilm]:
    """fit_maps.npy and fit_scores.csv, one line a fit film in the manifest's order; returns the most suspect films for
    a page, highest first. Nothing, and no file, where films were not cross-fitted."""
    if not work.folder.summary("crossfit")["folds"]:
        return []
    scores, folds = pipeline.cross_fitted_scores(work.read("fit_maps.npy"), detector), _folds(work)
    p_values = calibration.p_values_among(scores.fused)
    films = [
        FitScore(
            image=work.rows[row].image,
            filename=work.rows[row].filename,
            fold=int(folds[k]),
            whole=float(scores.whole[k]),
            region=float(scores.region[k]),
            fused=float(scores.fused[k]),
            p_value=float(p_values[k]),
        )
        for k, row in enumerate(work.readable("fit").tolist())
    ]
    FitScores(work.folder.path).write(films, work.path("fit_maps.npy"))
    highest = [films[k] for k in np.argsort(-scores.fused, kind="stable")[:SUSPECTS].tolist()]
    return [
        SuspectFilm(image=film.image, filename=film.filename, fused=film.fused, p_value=film.p_value)
        for film in highest
    ]
