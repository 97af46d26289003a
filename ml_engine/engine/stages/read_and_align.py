"""The stages that all kinds of run begin with: decoding the films and aligning them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_engine.core import files
from ml_engine.core.alignment.landmarks import Points
from ml_engine.core.alignment.model import FittedAlignment
from ml_engine.core.config import preparation_difference
from ml_engine.core.errors import EngineError, IncompatibleModel, UnreadableImage, UnsupportedImage
from ml_engine.core.film.preprocess import prepare, valid_area
from ml_engine.core.geometry import compose, invert
from ml_engine.core.stored_rows import coded, image_kind
from ml_engine.engine import decode_films, manifest
from ml_engine.engine.chunked_rows import ArrayPlan, ChunkedRows
from ml_engine.engine.prepared_films import Input
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages import landmarks
from ml_engine.engine.stages.run_context import RunContext

CHUNK = 32
AFFINES = "input_from_canonical.npy"
MOST_READERS = 16  # each holds a decoded film


def read_films(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Decode, scale and resize all films: inputs.npy (N, S, S) in 16 bits, boxes.npy (N, 4), original_from_input.npy
    (N, 2, 3)."""
    rows = context.rows
    if context.spec.kind == "fit_detector":  # refuse now, not after minutes of decoding
        manifest.check_parts(rows, context.config)
    size = context.config.alignment.size if context.spec.kind == "fit_alignment" else context.config.size
    is_half = context.config.keeps_half
    plan = ArrayPlan((len(rows), size, size), image_kind(is_half=is_half))
    unreadable = np.zeros((size, size), np.float32), np.zeros(4, np.int64), np.full((2, 3), np.nan)

    store = context.store  # made once, before several threads ask for it

    def read(k: int) -> Input:
        return (_stored_input(context, k) if store else None) or _read_input(context, rows[k], size)

    with ChunkedRows(context.folder.stages, progress.stage, {"inputs.npy": plan}) as written:
        first = written.done
        films = decode_films.ahead(lambda k: read(first + k), len(rows) - first, workers=_readers(context))
        for k, film in enumerate(films, first):
            error = ""
            try:
                image, box, affine = film()
            except (UnreadableImage, UnsupportedImage) as problem:
                (image, box, affine), error = unreadable, str(problem)
                context.folder.log(f"Row {k + 1} of images.csv could not be read: {problem}")
            kept = {"boxes": [box.tolist()], "affines": [affine.tolist()], "errors": [error]}
            written.add({"inputs.npy": coded(image[None], is_half=is_half)}, kept)
            if written.is_chunk_full:
                written.end_chunk()
            progress(k + 1, len(rows))
        written.finish()
    files.write_npy(context.path("boxes.npy"), np.array(written.kept["boxes"], dtype=np.int64))
    files.write_npy(context.path("original_from_input.npy"), np.array(written.kept["affines"], dtype=np.float64))
    errors = {str(k): error for k, error in enumerate(written.kept["errors"]) if error}
    if len(errors) == len(rows) and context.spec.shard is None:  # of a range the merge decides
        _refuse_unless_scoring(context, errors["0"])
    return {"errors": errors}


def _readers(context: RunContext) -> int:
    """The number of threads that decode: the run's, or all cores where a GPU waits for the films."""
    threads = context.config.threads
    return threads if context.device.type == "cpu" else max(threads, min(os.cpu_count() or 1, MOST_READERS))


def _read_input(context: RunContext, row: manifest.ManifestRow, size: int) -> Input:
    key = (context.images / row.filename, row.sha256, size, context.config)
    if context.films and context.spec.kind != "fit_alignment" and (kept := context.films.take(key)):
        return kept
    decoded = decode_films.decode_film(context.images / row.filename, sha256=row.sha256)
    film = prepare(decoded, context.config, size=size)
    read = film.image.numpy(), np.array(film.box), film.original_from_input.numpy()
    if context.films and context.spec.kind == "fit_alignment":
        context.films.keep(key, read)
    return read


def _stored_input(context: RunContext, row: int) -> Input | None:
    stored = context.stored_film(row)
    return (stored.image, stored.box, stored.original_from_input) if stored else None


def _refuse_unless_scoring(context: RunContext, first: str) -> None:
    """Called when no film could be read. Scores may all be NaN, but a fit, and a run whose film files are missing,
    raise EngineError."""
    manifest.require_some_file(context.rows, context.images)
    if context.spec.kind != "score":
        raise EngineError(f"None of the {len(context.rows)} films could be read. The first: {first}")


def align(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes each film's affine: input_from_canonical.npy (N, 2, 3), in input pixels. One that a person made on the
    alignment board replaces the fitted one, and the film is not flagged."""
    import torch

    affines = np.broadcast_to(np.eye(2, 3), (len(context.rows), 2, 3)).copy()
    flagged: list[int] = []
    by_landmarks: dict[str, Any] = {}
    if context.config.align == "network":
        model = load_checked_alignment(context)
        points = landmarks.points_for(context, model)
        inputs, boxes = context.inputs(), context.read("boxes.npy")
        unplaced = []
        for row in context.readable().tolist():
            if stored := context.stored_film(row):
                affines[row] = stored.input_from_canonical
                flagged += [row] if stored.flagged else []
            else:
                unplaced.append(row)
        chunk = CHUNK * torch.get_num_threads()  # a batch for each thread
        plan = ArrayPlan(affines.shape, "<f8")
        with ChunkedRows(context.folder.stages, progress.stage, {AFFINES: plan}, key=context.device.type) as written:
            affines[: written.done] = written.whole_rows(AFFINES)
            begun = sum(row < written.done for row in unplaced)
            for first in range(begun, len(unplaced), chunk):
                at = np.array(unplaced[first : first + chunk])
                affines[at], failed = apply_alignment(
                    model, inputs[at], boxes[at], points=landmarks.for_rows(points, at)
                )
                written.add({AFFINES: affines[written.written : at[-1] + 1]}, {"flagged": at[failed].tolist()})
                if written.is_chunk_full:
                    written.end_chunk()
                progress(first + len(at), len(unplaced))
            written.add({AFFINES: affines[written.written :]})
            written.finish()
        flagged += written.kept.get("flagged", [])
        by_landmarks = landmarks.placements(context, model, points)
    by_hand = _place_by_hand(context, affines)
    files.write_npy(context.path(AFFINES), affines)
    return {"flagged": sorted(set(flagged) - set(by_hand)), "by_hand": by_hand} | by_landmarks


def _place_by_hand(context: RunContext, affines: Any) -> list[int]:
    """Put the hand-made affines into ``affines`` (N, 2, 3); the rows of these films."""
    originals = context.read("original_from_input.npy")
    rows = sorted(set(context.hand_affines) & set(context.readable().tolist()))
    for row in rows:
        affines[row] = compose(invert(originals[row]), context.hand_affines[row]).numpy()
        context.folder.log(f"Row {row + 1} of images.csv is placed by hand.")
    return rows


def load_checked_alignment(context: RunContext) -> FittedAlignment:
    """The run's alignment. Raises IncompatibleModel if it is not the detector's, or if it was fitted on films prepared
    with other settings."""
    path = context.input_path("alignment")
    if context.has_detector and context.models.sha256_of(path) != context.detector.alignment_sha256:
        raise IncompatibleModel(
            "The alignment in this run is not the one that the detector was fitted with: score with the model folder "
            "that fit wrote, unchanged."
        )
    model = context.models.alignment(path)
    if difference := preparation_difference(model.header.get("config", {}), context.config):
        name, fitted, requested = difference
        raise IncompatibleModel(
            f"The alignment was fitted with {name} = {fitted} and the detector uses {requested}: choose the same, or "
            "fit another alignment."
        )
    return model


def apply_alignment(
    model: FittedAlignment, inputs: Any, boxes: Any, *, points: Sequence[Points] | None = None
) -> tuple[Any, Any]:
    """input_from_canonical (N, 2, 3) and the flags (N,) of inputs (N, S, S) with their film boxes (N, 4). An alignment
    by landmarks also needs ``points``, their landmarks in input pixels."""
    import torch

    images = torch.from_numpy(np.asarray(inputs, dtype=np.float32))[:, None]
    theta, flagged = model.affines(images, valid_area(boxes, images.shape[-1]), points=points)
    return theta.numpy(), flagged.numpy()


def original_from_canonical(context: RunContext) -> Any:
    """(N, 2, 3) float64 in pixels, resizing and padding included; NaN for a film that could not be read. Hand-made
    affines are as they were given, to the byte."""
    affines = compose(context.read("original_from_input.npy"), context.read("input_from_canonical.npy")).numpy()
    unreadable = context.errors
    for row, affine in context.hand_affines.items():
        if row not in unreadable:
            affines[row] = affine
    return affines
