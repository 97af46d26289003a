"""A detector changed without the features that it was fitted on: an approximation, and called one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ml_engine import manifest
from ml_engine.core import bank_changes, determinism, files, pipeline
from ml_engine.core.memory_bank import Source, places_of
from ml_engine.core.pipeline import Detector, load_detector
from ml_engine.manifest import Row
from ml_engine.one_film import Reader
from ml_engine.stages.runner import OK, Outcome

GROWN = "approximate: the banks were extended without the films they came from, and not calibrated again"
FORGOTTEN = "approximate: a patient's vectors were deleted, and what covers their place was not chosen again"


def grow(model: Path, out: Path, *, added: list[Row], images: Path) -> Outcome:
    """The detector of ``model`` with `bank_changes.extended` banks, written to the run folder ``out``.

    The mask, the calibration normals' maps and the fusion weight stay: those maps were made against the smaller
    banks, so that new films score a little low beside them. Raises EngineError for a film that cannot be read.
    """
    detector = load_detector(model / "detector.safetensors")
    determinism.fix(threads=detector.config.threads)
    reader = Reader(model, detector)
    features = torch.cat([reader.features(images / row.filename, sha256=row.sha256) for row in added])
    before = manifest.read(model / "images.csv")
    unreadable = files.read_json(model / "detector.json")["unreadable"]
    fitted = sum(row.part == "fit" for k, row in enumerate(before) if str(k) not in unreadable)
    source = Source(places_of(detector.mask.keep), torch.arange(len(before), len(before) + len(added)))
    banks = bank_changes.extended(detector.banks, features, source, detector.config, films_before=fitted)
    return _write(replace(detector, model=banks), model, out, GROWN, lambda row: row)


def forget(model: Path, out: Path, *, kept: list[bool]) -> Outcome:
    """The detector of ``model`` without the vectors and calibration maps of the manifest rows that are not
    ``kept``, written to the run folder ``out``. The mask and the fusion weight stay."""
    detector = load_detector(model / "detector.safetensors")
    places = torch.from_numpy(np.where(kept, np.cumsum(kept) - 1, -1))
    banks = bank_changes.without_films(detector.banks, places)
    detector = replace(detector, model=banks, calibration=_calibration(model, detector, kept))
    return _write(detector, model, out, FORGOTTEN, lambda row: int(places[row]))


def _calibration(model: Path, detector: Detector, kept: list[bool]) -> pipeline.Calibration:
    """The calibration without the maps of films that go."""
    unreadable = files.read_json(model / "detector.json")["unreadable"]
    part = "calibrate" if detector.calibration.source == "calibrate" else "fit"
    rows = manifest.read(model / "images.csv")
    stays = [kept[k] for k, row in enumerate(rows) if row.part == part and str(k) not in unreadable]
    maps = detector.calibration.maps
    maps = maps[np.array(stays)] if len(maps) else maps
    return pipeline.calibrate(maps, source=detector.calibration.source, config=detector.config)


def _write(detector: Detector, model: Path, out: Path, note: str, new_row: Callable[[int], int]) -> Outcome:
    """detector.safetensors, detector.json and mask.npy, as a fit writes them; rows of films in the old summary move
    by ``new_row``, -1 where they go."""
    changed = replace(detector, note=note)
    before = files.read_json(model / "detector.json")
    rows = manifest.read(out / "images.csv")
    unreadable = {int(row): text for row, text in before["unreadable"].items()}
    facts = {
        "parts": {part: sum(row.part == part for row in rows) for part in before["parts"]},
        "flagged": [new_row(row) for row in before["flagged"] if new_row(row) >= 0],
        "unreadable": {str(new_row(row)): text for row, text in unreadable.items() if new_row(row) >= 0},
    }
    files.write_npy(out / "mask.npy", detector.mask.keep)
    files.write_json(out / "detector.json", before | pipeline.summary(changed) | facts)
    pipeline.save_detector(changed, out / "detector.safetensors")
    return Outcome(OK)
