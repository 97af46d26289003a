"""Change a detector without the features that it was fitted on: an approximation, which its note states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import determinism, files
from ml_engine.core.bank import changes
from ml_engine.core.bank.changes import GROWN, add_note
from ml_engine.core.bank.memory_bank import Source, places_of
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import FittedDetector, load_detector
from ml_engine.core.errors import EngineError, UnreadableImage, UnsupportedImage
from ml_engine.engine import manifest
from ml_engine.engine.describe_detector import describe
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.one_film import FilmPipeline
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import DetectorReport, PartCounts

FORGOTTEN = "approximate: a patient's vectors were deleted, and what covers their place was not chosen again"


def with_films(model: Path, added: list[ManifestRow], *, images: Path) -> FittedDetector:
    """The detector of the folder ``model`` with extended banks (`bank.changes.extend`).

    The mask, the calibration normals' maps and the fusion weight are unchanged. Those maps were made with the smaller
    banks, so new films score slightly low in comparison. Raises EngineError for a film that cannot be read.
    """
    detector = load_detector(model / "detector.safetensors")
    determinism.fix(threads=detector.config.threads)
    films = FilmPipeline(model, detector, device=detector.config.device)
    features = torch.cat([_features(films, row, images) for row in added])
    before = manifest.read(model / "images.csv")
    unreadable = DetectorReport.read(model).unreadable
    fitted = sum(row.part == "fit" for k, row in enumerate(before) if str(k) not in unreadable)
    source = Source(places_of(detector.mask.keep), torch.arange(len(before), len(before) + len(added)))
    banks = changes.extend(detector.banks, features, source, detector.config, films_before=fitted)
    return replace(detector, model=banks, note=add_note(detector.note, GROWN))


def _features(films: FilmPipeline, row: ManifestRow, images: Path) -> torch.Tensor:
    try:
        return films.features(images / row.filename, sha256=row.sha256)
    except (UnreadableImage, UnsupportedImage) as problem:
        raise EngineError(f"{row.filename} cannot be added: {problem} Leave it out.") from problem


def without_rows(model: Path, *, kept: list[bool]) -> FittedDetector:
    """The detector of the folder ``model`` without the vectors and calibration maps of the manifest rows that are not
    ``kept``. The mask and the fusion weight are unchanged. Raises EmptyBank, and EngineError if too few maps remain."""
    detector = load_detector(model / "detector.safetensors")
    banks = changes.remove_films(detector.banks, torch.from_numpy(_new_rows(kept)))
    return replace(
        detector, model=banks, calibration=_calibration(model, detector, kept), note=add_note(detector.note, FORGOTTEN)
    )


def _new_rows(kept: list[bool]) -> NDArray[np.int64]:
    """The new row of each manifest row, int64 (N,); -1 for a removed row."""
    return np.where(kept, np.cumsum(kept) - 1, -1)


def _calibration(model: Path, detector: FittedDetector, kept: list[bool]) -> pipeline.Calibration:
    """The calibration without the maps of removed films."""
    unreadable = DetectorReport.read(model).unreadable
    part = "calibrate" if detector.calibration.source == "calibrate" else "fit"
    rows = manifest.read(model / "images.csv")
    maps = detector.calibration.maps
    is_kept = [kept[k] for k, row in enumerate(rows) if row.part == part and str(k) not in unreadable]
    is_kept = is_kept[: len(maps)]  # films added by an approximate growth have no map
    patients = detector.calibration.patients
    if len(maps):
        maps = maps[np.array(is_kept)]
        patients = None if patients is None else patients[np.array(is_kept)]
    return pipeline.calibrate(maps, source=detector.calibration.source, config=detector.config, patients=patients)


def write(detector: FittedDetector, model: Path, out: Path, *, kept: list[bool] | None = None) -> Outcome:
    """Write detector.safetensors, detector.json and mask.npy of a detector derived from that of ``model`` into the run
    folder ``out``, as a fit does. ``kept`` marks the manifest rows of the model that remain, by default all."""
    before = DetectorReport.read(model)
    rows = manifest.read(out / "images.csv")
    moved = _new_rows([True] * len(rows) if kept is None else kept)
    unreadable = {int(moved[int(row)]): text for row, text in before.unreadable.items()}
    report = describe(
        detector,
        parts=PartCounts.of(rows),
        flagged=[int(moved[row]) for row in before.flagged if moved[row] >= 0],
        unreadable={str(row): text for row, text in unreadable.items() if row >= 0},
        suspects=[],  # their scores are from other banks, and they may name a forgotten film
    )
    files.write_npy(out / "mask.npy", detector.mask.keep)
    report.write(out)
    pipeline.save_detector(detector, out / "detector.safetensors")
    return Outcome(ExitStatus.DONE)
