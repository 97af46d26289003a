"""The stages of a detector fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine import manifest
from ml_engine.core import calibration, detectors, files, fusion, in_memory, masking, memory_bank, pipeline
from ml_engine.core.memory_bank import Source
from ml_engine.core.version import code_version
from ml_engine.folder import Report
from ml_engine.stages.work import Work, require


def find_mask(work: Work, report: Report) -> dict[str, Any]:
    """The hard mask from the mean aligned film of the fit part: mask.npy (h, w) bool."""
    errors = work.errors
    manifest.check_parts([row for k, row in enumerate(work.rows) if k not in errors], work.config)
    rows = work.readable("fit")
    require(rows, least=1, part="fit")
    inputs, affines = files.open_npy(work.path("inputs.npy")), work.read("input_from_canonical.npy")
    mean = pipeline.mean_film(inputs, affines, rows=rows[: work.config.mask_images])
    mask = masking.hard_mask(mean, work.config)
    files.write_npy(work.path("mask.npy"), mask.keep)
    report(1, 1)
    return {"threshold": mask.threshold, "share_kept": mask.share}


def extract(work: Work, report: Report) -> dict[str, Any]:
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


def _fit_features(work: Work) -> tuple[torch.Tensor, Source]:
    places = memory_bank.places_of(work.mask())
    source = Source(places, torch.from_numpy(work.readable("fit")))
    return torch.from_numpy(files.open_npy(work.path("features.npy"))), source


def select(work: Work, report: Report) -> dict[str, Any]:
    """The detector's model, of PatchCore its global and region banks: banks.safetensors."""
    features, source = _fit_features(work)
    model = detectors.fit_model(features.to(work.device), source, work.config, progress=report)
    files.write_tensors(work.path("banks.safetensors"), detectors.to_tensors(model), {})
    return {}


def calibrate(work: Work, report: Report) -> dict[str, Any]:
    """Raw maps of normals: calibration.npy (n, 2, h, w), of the calibrate part, else of the fit part by folds
    of patients, each scored against a model of the other folds."""
    rows = work.readable("calibrate")
    if len(rows):
        files.write_npy(work.path("calibration.npy"), _maps(work, rows, report))
        return {"source": "calibrate"}
    fit = work.readable("fit")
    patients = [work.rows[k].patient or f"row {k}" for k in fit]
    folds = calibration.patient_folds(patients, folds=work.config.folds, seed=work.config.seed)
    features, source = _fit_features(work)
    maps = in_memory.fold_maps(features, source, folds, work.mask(), work.config, work.device, progress=report)
    files.write_npy(work.path("calibration.npy"), maps)
    return {"source": in_memory.fold_words(folds)}


def tune(work: Work, report: Report) -> dict[str, Any]:
    """Raw maps of the tune part's normal and abnormal films: tune.npy (n, 2, h, w)."""
    rows = np.array([k for k in work.readable("tune") if work.rows[k].label in ("normal", "abnormal")], np.int64)
    if work.config.fusion_choice == "config":
        if work.keeps_features:  # grow and forget need those of all films, though no weight is chosen here
            deque(work.features_of(rows, report), maxlen=0)
        rows = rows[:0]
    files.write_npy(work.path("tune.npy"), _maps(work, rows, report))
    return {"rows": rows.tolist()}


def _maps(work: Work, rows: NDArray[np.int64], report: Report) -> fusion.Maps:
    """Raw maps (n, 2, h, w) of the films at ``rows`` against the run's banks."""
    tensors, _ = files.read_tensors(work.path("banks.safetensors"))
    scorer = detectors.scorer_of(detectors.from_tensors(tensors, work.config), work.mask(), work.config, work.device)
    maps = [scorer.maps(film) for _, batch in work.features_of(rows, report) for film in batch]
    return np.stack(maps) if maps else np.zeros((0, 2, *work.mask().shape), np.float32)


def write_results(work: Work, report: Report) -> dict[str, Any]:
    """detector.safetensors, detector.json, mask.npy."""
    folder, config = work.folder, work.config
    tensors, _ = files.read_tensors(work.path("banks.safetensors"))
    calibrated = pipeline.calibrate(
        work.read("calibration.npy"), source=folder.summary("calibrate")["source"], config=config
    )
    rows = folder.summary("tune")["rows"]
    abnormal = np.array([work.rows[k].label == "abnormal" for k in rows], dtype=np.bool_)
    mask = folder.summary("mask")
    detector = pipeline.Detector(
        config=config,
        mask=masking.HardMask(work.mask(), mask["threshold"]),
        model=detectors.from_tensors(tensors, config),
        calibration=calibrated,
        choice=pipeline.choose(work.read("tune.npy"), abnormal, calibrated, config),
        weights=work.backbone.to_json(),
        alignment_sha256=(work.request.inputs or {}).get("alignment") if config.align == "network" else None,
        code_version=code_version(),
    )
    pipeline.save_detector(detector, folder.path / "detector.safetensors")
    files.write_npy(folder.path / "mask.npy", work.mask())
    facts = {
        "parts": {part: sum(1 for row in work.rows if row.part == part) for part in ("fit", "tune", "calibrate")},
        "flagged": folder.summary("align")["flagged"],
        "unreadable": folder.summary("films")["errors"],
    }
    files.write_json(folder.path / "detector.json", pipeline.summary(detector) | facts)
    return {}
