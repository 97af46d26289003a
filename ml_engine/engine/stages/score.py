"""The stages of a scoring run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.alignment import columns, quality
from ml_engine.core.bank import changes
from ml_engine.core.bank.detectors import scorer_of
from ml_engine.core.bank.memory_bank import Source, places_of
from ml_engine.core.detector import pipeline
from ml_engine.core.errors import EngineError
from ml_engine.core.film import trivial
from ml_engine.core.film.preprocess import valid_area
from ml_engine.core.score import calibration
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.scored_folder import ScoredFolder, ScoreSummary
from ml_engine.engine.stages.read_and_align import CHUNK, load_checked_alignment, original_from_canonical
from ml_engine.engine.stages.run_context import RunContext


def grow_banks(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """grown.safetensors: the run's detector with the banks extended by the films that ``grow`` names.

    `bank_changes.extended`: an approximation, and noted as one. The calibration stays, so that the threshold does.
    Raises EngineError for a film that is not in the manifest or cannot be read.
    """
    grow, detector = work.request.grow, work.detector
    assert grow is not None
    row_of = {row.image: k for k, row in enumerate(work.rows) if row.image}
    unknown = sorted(set(grow.images) - set(row_of))
    if unknown:
        raise EngineError(f"The film {unknown[0]} is to join the bank and is not in images.csv: ask for the run anew.")
    rows = np.array(sorted(row_of[image] for image in grow.images), dtype=np.int64)
    broken = [text for row, text in work.errors.items() if row in rows]
    if broken:
        raise EngineError(f"A film that is to join the bank cannot be read: {broken[0]} Propose the others without it.")
    found = [films.reshape(-1, films.shape[-1]).cpu() for _, films in work.features_of(rows, report)]
    source = Source(places_of(work.mask()), torch.arange(grow.films_before, grow.films_before + len(rows)))
    banks = changes.extend(detector.banks, torch.cat(found), source, work.config, films_before=grow.films_before)
    grown = replace(detector, model=banks, note=changes.add_note(detector.note, changes.GROWN))
    pipeline.save_detector(grown, work.path("grown.safetensors"))
    return {"films": len(rows)}


def make_maps(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """Raw maps of all films: maps.npy (N, 2, h, w) float32, NaN where masked and for unreadable films."""
    keep = work.mask()
    scorer = scorer_of(work.scorer.model, keep, work.config, work.device)
    errors = work.errors
    blank = np.full((1, 2, *keep.shape), np.nan, dtype=np.float32)

    def maps() -> Iterator[NDArray[np.float32]]:
        readable = (film for _, batch in work.features_of(work.readable(), report) for film in batch)
        for row in range(len(work.rows)):
            yield blank if row in errors else scorer.maps(next(readable))[None]

    files.stream_npy(work.path("maps.npy"), (len(work.rows), *blank.shape[1:]), maps())
    return {}


def write_results(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The scored folder: see `ScoredFolder`."""
    detector, scored = work.scorer, ScoredFolder(work.folder.path)
    weight = detector.choice.weight if work.request.fusion_weight is None else work.request.fusion_weight
    scores = pipeline.score_maps(files.open_npy(work.path("maps.npy")), detector, weight=weight)
    normals = pipeline.normal_scores(detector, weight=weight)
    scored.take_maps(work.path("maps.npy"))
    scored.write_array("original_from_canonical", original_from_canonical(work))
    scored.write_array("trivial", _trivial(work))
    if work.config.align == "network":
        scored.write_array("alignment_quality", _aligned(work))
    scored.write_array("p_values", calibration.p_values(scores.fused, normals))
    scored.write_scores(work.rows, work.errors, scores)
    scored.write_summary(_summary(work, weight))
    scored.check()
    return {}


def _trivial(work: RunContext) -> NDArray[np.float64]:
    """`trivial.NAMES` of all films, (N, 3); NaN for unreadable ones."""
    inputs, boxes = files.open_npy(work.path("inputs.npy")), work.read("boxes.npy")
    affines = work.read("original_from_input.npy")
    found = np.full((len(work.rows), len(trivial.NAMES)), np.nan)
    for row in work.readable().tolist():
        found[row] = trivial.trivial_scores(inputs[row], boxes[row], affines[row])
    return found


def _aligned(work: RunContext) -> NDArray[np.float64]:
    """`columns.NAMES` of all films, (N, 5); NaN for unreadable ones."""
    model = load_checked_alignment(work)
    inputs, boxes, affines = files.open_npy(work.path("inputs.npy")), work.read("boxes.npy"), _placed(work)
    found = np.full((len(work.rows), len(columns.NAMES)), np.nan)
    readable = work.readable()
    for first in range(0, len(readable), CHUNK):
        at = readable[first : first + CHUNK]
        images = torch.from_numpy(np.asarray(inputs[at], dtype=np.float32))[:, None]
        found[at] = quality.alignment_quality(model, images, valid_area(boxes[at], images.shape[-1]), affines[at])
    return found


def _placed(work: RunContext) -> NDArray[np.float64]:
    placed: NDArray[np.float64] = work.read("input_from_canonical.npy")
    return placed


def _summary(work: RunContext, weight: float) -> ScoreSummary:
    detector, config = work.scorer, work.config
    calibrated = detector.calibration
    normals = pipeline.normal_scores(detector, weight=weight)
    marked = pipeline.threshold(detector, weight=weight)
    standardisation = None
    if calibrated.mean is not None and calibrated.std is not None:
        standardisation = {"mean": calibrated.mean.tolist(), "std": calibrated.std.tolist()}
    return ScoreSummary(
        format=FORMAT,
        code_version=code_version(),
        weights=detector.weights,
        detector_sha256=(work.request.inputs or {}).get("detector"),
        alignment_sha256=detector.alignment_sha256,
        note=detector.note,
        fusion_weight=weight,
        fusion_source=detector.choice.source if work.request.fusion_weight is None else "config",
        standardisation=standardisation,
        size=config.size,
        stride=config.stride,
        rows=config.patches,
        columns=config.patches,
        image_score=config.image_score,
        top_share=config.top_share,
        distance=config.distance,
        neighbours=config.neighbours,
        calibration_source=calibrated.source,
        calibration_scores=np.sort(normals).tolist(),
        threshold=marked,
        threshold_map=marked["value"],
        flagged=work.folder.summary("align")["flagged"],
        unreadable=work.folder.summary("films")["errors"],
    )
