"""The stages of a scoring run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.alignment import columns, quality
from ml_engine.core.backbone import weights
from ml_engine.core.bank import changes
from ml_engine.core.bank.memory_bank import Source, places_of
from ml_engine.core.detector import pipeline
from ml_engine.core.errors import EngineError
from ml_engine.core.film import trivial
from ml_engine.core.film.preprocess import valid_area
from ml_engine.core.head import confirmed_head
from ml_engine.core.head.confirmed_head import BothScores, ConfirmedHead
from ml_engine.core.score import calibration
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine.chunked_rows import ArrayPlan, ChunkedRows
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.scored_folder import ScoredFolder, ScoreSummary, SemiSupervised, SemiSupervisedSummary
from ml_engine.engine.stages.read_and_align import CHUNK, load_checked_alignment, original_from_canonical
from ml_engine.engine.stages.run_context import RunContext

MAPS, HEAD_MAPS, HEAD_LOGITS = "maps.npy", "head_maps.npy", "head_logits.npy"


def grow_banks(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes grown.safetensors: the run's detector with its banks extended by the films that ``grow`` names.

    An approximation (`bank.changes.extend`), which the detector's note states. The calibration is unchanged, and so
    is the threshold. Raises EngineError for a film that is not in the manifest or cannot be read.
    """
    grow, detector = context.spec.grow, context.detector
    assert grow is not None
    row_of = {row.image: k for k, row in enumerate(context.rows) if row.image}
    unknown = sorted(set(grow.images) - set(row_of))
    if unknown:
        raise EngineError(f"The film {unknown[0]} is to join the bank and is not in images.csv: request the run again.")
    rows = np.array(sorted(row_of[image] for image in grow.images), dtype=np.int64)
    broken = [text for row, text in context.errors.items() if row in rows]
    if broken:
        raise EngineError(f"A film that is to join the bank cannot be read: {broken[0]} Leave it out of the proposal.")
    features = [films.reshape(-1, films.shape[-1]).cpu() for _, films in context.features_of(rows, progress)]
    source = Source(places_of(context.mask()), torch.arange(grow.films_before, grow.films_before + len(rows)))
    banks = changes.extend(detector.banks, torch.cat(features), source, context.config, films_before=grow.films_before)
    grown = replace(detector, model=banks, note=changes.add_note(detector.note, changes.GROWN))
    pipeline.save_detector(grown, context.path("grown.safetensors"))
    return {"films": len(rows)}


def make_maps(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the raw maps of all films: maps.npy (N, 2, h, w) float32, NaN where masked and for unreadable films.

    With a semi-supervised head also its maps, head_maps.npy (N, h, w) float32, and logits, head_logits.npy (N,).
    """
    keep, head = context.mask(), context.head
    scorer = context.map_scorer()
    count, readable = len(context.rows), context.readable()
    plans = {MAPS: ArrayPlan((count, 2, *keep.shape), "<f4")}
    if head:
        plans |= {HEAD_MAPS: ArrayPlan((count, *keep.shape), "<f4"), HEAD_LOGITS: ArrayPlan((count,), "<f8")}
    with ChunkedRows(context.folder.stages, progress.stage, plans, key=context.device.type) as written:
        left = readable[readable >= written.done]
        for at, batch in context.features_of(left, progress, before=len(readable) - len(left)):
            maps = scorer.film_maps(batch)
            for row, patches, film in zip(at.tolist(), batch, maps, strict=True):
                written.add(_unreadable(plans, row - written.written))
                outputs = {MAPS: film[None]}
                written.add(outputs | (_of_head(head, patches, keep) if head else {}))
            if written.is_chunk_full:
                written.end_chunk()
        written.add(_unreadable(plans, count - written.written))
        written.finish()
    return {}


def _unreadable(plans: Mapping[str, ArrayPlan], films: int) -> dict[str, NDArray[Any]]:
    return {name: np.full((films, *plan.shape[1:]), np.nan) for name, plan in plans.items()}


def _of_head(head: ConfirmedHead, patches: torch.Tensor, keep: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """What a semi-supervised head says of a film: its map (1, h, w) and logit (1,)."""
    return {
        HEAD_MAPS: head.map_of(patches, keep)[None],
        HEAD_LOGITS: head.logits(confirmed_head.pool(patches)[None])[:1],
    }


def write_results(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the files of `ScoredFolder`."""
    detector, scored = context.scorer, ScoredFolder(context.folder.path)
    weight = detector.choice.weight if context.spec.fusion_weight is None else context.spec.fusion_weight
    scores = pipeline.score_maps(files.open_npy(context.path(MAPS)), detector, weight=weight)
    normals = pipeline.normal_scores(detector, weight=weight)
    scored.take_maps(context.path(MAPS))
    scored.write_array("original_from_canonical", original_from_canonical(context))
    scored.write_array("trivial", _trivial_scores(context))
    if context.config.align == "network":
        scored.write_array("alignment_quality", _alignment_quality(context))
    patients = detector.calibration.patients
    scored.write_array("p_values", calibration.p_values(scores.fused, normals, patients))
    beside = _beside(context, scores.fused, normals) if context.head else None
    is_random = detector.weights["name"] == weights.RANDOM
    scored.write_scores(context.rows, context.errors, scores, weight=weight, beside=beside, random_weights=is_random)
    if beside:
        scored.write_semi_supervised(beside, context.path(HEAD_MAPS))
    scored.write_summary(_summary(context, weight))
    scored.check()
    return {}


def _beside(context: RunContext, one_class: NDArray[np.float64], normals: NDArray[np.float64]) -> SemiSupervised:
    """The semi-supervised scores of all films, beside their ``one_class`` scores and those of the calibration
    ``normals``."""
    head, patients = context.head, context.scorer.calibration.patients
    assert head is not None
    of_normals = BothScores(normals, head.calibration_logits)
    logits: NDArray[np.float64] = context.read(HEAD_LOGITS)
    combined = confirmed_head.combine(BothScores(one_class, logits), of_normals)
    held_out = confirmed_head.combine_normals(of_normals, patients).combined
    order = np.argsort(held_out, kind="stable")
    return SemiSupervised(
        columns=np.stack(
            [
                combined.one_class_z,
                logits,
                combined.head_z,
                combined.combined,
                calibration.p_values(combined.combined, held_out, patients),
            ],
            axis=1,
        ),
        summary=SemiSupervisedSummary(
            format=FORMAT,
            kind=confirmed_head.KIND,
            head_sha256=(context.spec.inputs or {})["head"],
            detector_sha256=head.detector_sha256,
            penalty=head.penalty,
            intercept=head.regression.intercept,
            facts=head.facts,
            calibration_combined=held_out[order].tolist(),
            calibration_patients=None if patients is None else patients[order].tolist(),
            calibration_order=order.tolist(),
        ),
    )


def _trivial_scores(context: RunContext) -> NDArray[np.float64]:
    """`trivial.NAMES` of all films, (N, 3); NaN for unreadable ones."""
    inputs, boxes = context.inputs(), context.read("boxes.npy")
    affines = context.read("original_from_input.npy")
    scores = np.full((len(context.rows), len(trivial.NAMES)), np.nan)
    for row in context.readable().tolist():
        scores[row] = trivial.trivial_scores(inputs[row], boxes[row], affines[row])
    return scores


def _alignment_quality(context: RunContext) -> NDArray[np.float64]:
    """`columns.NAMES` of all films, (N, 5); NaN for unreadable ones."""
    model = load_checked_alignment(context)
    inputs, boxes = context.inputs(), context.read("boxes.npy")
    affines: NDArray[np.float64] = context.read("input_from_canonical.npy")
    measures = np.full((len(context.rows), len(columns.NAMES)), np.nan)
    readable = context.readable()
    for first in range(0, len(readable), CHUNK):
        at = readable[first : first + CHUNK]
        images = torch.from_numpy(inputs[at])[:, None]
        measures[at] = quality.alignment_quality(model, images, valid_area(boxes[at], images.shape[-1]), affines[at])
    return measures


def _summary(context: RunContext, weight: float) -> ScoreSummary:
    detector, config = context.scorer, context.config
    calibrated, patients = detector.calibration, detector.calibration.patients
    normals = pipeline.normal_scores(detector, weight=weight)
    order = np.argsort(normals, kind="stable")
    threshold = pipeline.threshold(detector, weight=weight)
    standardisation = None
    if calibrated.mean is not None and calibrated.std is not None:
        standardisation = {"mean": calibrated.mean.tolist(), "std": calibrated.std.tolist()}
    return ScoreSummary(
        format=FORMAT,
        code_version=code_version(),
        weights=detector.weights,
        detector_sha256=(context.spec.inputs or {}).get("detector"),
        alignment_sha256=detector.alignment_sha256,
        note=detector.note,
        fusion_weight=weight,
        fusion_source=detector.choice.source if context.spec.fusion_weight is None else "config",
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
        calibration_scores=normals[order].tolist(),
        calibration_patients=None if patients is None else patients[order].tolist(),
        calibration_order=order.tolist(),
        threshold=threshold,
        threshold_map=threshold["value"],
        flagged=context.folder.summary("align")["flagged"],
        by_hand=context.folder.summary("align").get("by_hand", []),
        unreadable=context.folder.summary("films")["errors"],
    )
