"""A detector changed without the features that it was fitted on: an approximation, and called one."""

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
from ml_engine.engine.one_film import Reader
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import DetectorReport, PartCounts

FORGOTTEN = "approximate: a patient's vectors were deleted, and what covers their place was not chosen again"


def grown(model: Path, added: list[ManifestRow], *, images: Path) -> FittedDetector:
    """The detector of the folder ``model`` with `bank_changes.extended` banks.

    The mask, the calibration normals' maps and the fusion weight stay: those maps were made against the smaller
    banks, so that new films score a little low beside them. Raises EngineError for a film that cannot be read.
    """
    detector = load_detector(model / "detector.safetensors")
    determinism.fix(threads=detector.config.threads)
    reader = Reader(model, detector, device=detector.config.device)
    features = torch.cat([_features(reader, row, images) for row in added])
    before = manifest.read(model / "images.csv")
    unreadable = DetectorReport.read(model).unreadable
    fitted = sum(row.part == "fit" for k, row in enumerate(before) if str(k) not in unreadable)
    source = Source(places_of(detector.mask.keep), torch.arange(len(before), len(before) + len(added)))
    banks = changes.extend(detector.banks, features, source, detector.config, films_before=fitted)
    return replace(detector, model=banks, note=add_note(detector.note, GROWN))


def _features(reader: Reader, row: ManifestRow, images: Path) -> torch.Tensor:
    try:
        return reader.features(images / row.filename, sha256=row.sha256)
    except (UnreadableImage, UnsupportedImage) as problem:
        raise EngineError(f"{row.filename} cannot be added: {problem} Leave it out.") from problem


def without(model: Path, *, kept: list[bool]) -> FittedDetector:
    """The detector of the folder ``model`` without the vectors and calibration maps of the manifest rows that are not
    ``kept``. The mask and the fusion weight stay. Raises EmptyBank, and EngineError where too few maps are left."""
    detector = load_detector(model / "detector.safetensors")
    banks = changes.remove_films(detector.banks, torch.from_numpy(_new_rows(kept)))
    return replace(
        detector, model=banks, calibration=_calibration(model, detector, kept), note=add_note(detector.note, FORGOTTEN)
    )


def _new_rows(kept: list[bool]) -> NDArray[np.int64]:
    """The row that each manifest row moves up to, int64 (N,); -1 where it goes."""
    return np.where(kept, np.cumsum(kept) - 1, -1)


def _calibration(model: Path, detector: FittedDetector, kept: list[bool]) -> pipeline.Calibration:
    """The calibration without the maps of films that go."""
    unreadable = DetectorReport.read(model).unreadable
    part = "calibrate" if detector.calibration.source == "calibrate" else "fit"
    rows = manifest.read(model / "images.csv")
    maps = detector.calibration.maps
    stays = [kept[k] for k, row in enumerate(rows) if row.part == part and str(k) not in unreadable]
    stays = stays[: len(maps)]  # films that an approximate growth appended have no map
    maps = maps[np.array(stays)] if len(maps) else maps
    return pipeline.calibrate(maps, source=detector.calibration.source, config=detector.config)


def write(detector: FittedDetector, model: Path, out: Path, *, kept: list[bool] | None = None) -> Outcome:
    """detector.safetensors, detector.json and mask.npy in the run folder ``out``, as a fit writes them, of a detector
    made from that of ``model``; ``kept`` says which of its manifest rows are still there, all unless given."""
    before = DetectorReport.read(model)
    rows = manifest.read(out / "images.csv")
    moved = _new_rows([True] * len(rows) if kept is None else kept)
    unreadable = {int(moved[int(row)]): text for row, text in before.unreadable.items()}
    report = describe(
        detector,
        parts=PartCounts.of(rows),
        flagged=[int(moved[row]) for row in before.flagged if moved[row] >= 0],
        unreadable={str(row): text for row, text in unreadable.items() if row >= 0},
        suspects=[],  # scored by other banks, and they name films
    )
    files.write_npy(out / "mask.npy", detector.mask.keep)
    report.write(out)
    pipeline.save_detector(detector, out / "detector.safetensors")
    return Outcome(ExitStatus.DONE)
