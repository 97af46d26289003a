"""The stages that all kinds of run begin with: reading the films and aligning them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.alignment.landmarks import Points
from ml_engine.core.alignment.model import FittedAlignment, load_alignment
from ml_engine.core.config import preparation_difference
from ml_engine.core.errors import EngineError, IncompatibleModel, UnreadableImage, UnsupportedImage
from ml_engine.core.film.preprocess import prepare, valid_area
from ml_engine.core.geometry import compose
from ml_engine.engine import decode_films, manifest
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages import landmarks
from ml_engine.engine.stages.run_context import RunContext

CHUNK = 32
Input = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]  # image, box, original_from_input


def read_films(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """Decode, scale and resize every film: inputs.npy (N, S, S), boxes.npy (N, 4), original_from_input.npy."""
    rows = work.rows
    if work.request.kind == "fit_detector":  # before the minutes that reading takes
        manifest.check_parts(rows, work.config)
    size = work.config.alignment.size if work.request.kind == "fit_alignment" else work.config.size
    boxes = np.zeros((len(rows), 4), dtype=np.int64)
    affines = np.full((len(rows), 2, 3), np.nan)
    errors: dict[str, str] = {}

    def inputs() -> Iterator[NDArray[np.float32]]:
        for k, row in enumerate(rows):
            try:
                image, boxes[k], affines[k] = _kept_input(work, k) or _read_input(work, row, size)
                yield image[None]
            except (UnreadableImage, UnsupportedImage) as problem:
                errors[str(k)] = str(problem)
                work.folder.log(f"Row {k + 1} of images.csv could not be read: {problem}")
                yield np.zeros((1, size, size), dtype=np.float32)
            report(k + 1, len(rows))

    files.stream_npy(work.path("inputs.npy"), (len(rows), size, size), inputs())
    files.write_npy(work.path("boxes.npy"), boxes)
    files.write_npy(work.path("original_from_input.npy"), affines)
    if len(errors) == len(rows):
        _refuse_unless_scoring(work, errors["0"])
    return {"errors": errors}


def _read_input(work: RunContext, row: manifest.ManifestRow, size: int) -> Input:
    film = prepare(decode_films.read(work.images / row.filename, sha256=row.sha256), work.config, size=size)
    return film.image.numpy(), np.array(film.box), film.original_from_input.numpy()


def _kept_input(work: RunContext, row: int) -> Input | None:
    kept = work.kept(row)
    return (kept.image, kept.box, kept.original_from_input) if kept else None


def _refuse_unless_scoring(work: RunContext, first: str) -> None:
    """No film could be read. Scores may all be NaN; a fit, and a folder without its films, get a sentence."""
    if not any((work.images / row.filename).is_file() for row in work.rows):
        raise EngineError(
            f"None of the {len(work.rows)} files that images.csv names is in {work.images}: name their folder with "
            "--images."
        )
    if work.request.kind != "score":
        raise EngineError(f"None of the {len(work.rows)} films could be read. The first: {first}")


def align(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """Where each film lies in the canonical frame: input_from_canonical.npy (N, 2, 3), in input pixels."""
    affines = np.broadcast_to(np.eye(2, 3), (len(work.rows), 2, 3)).copy()
    flagged: list[int] = []
    by_landmarks: dict[str, Any] = {}
    if work.config.align == "network":
        model = load_checked_alignment(work)
        points = landmarks.points_for(work, model)
        inputs, boxes = files.open_npy(work.path("inputs.npy")), work.read("boxes.npy")
        unplaced = []
        for row in work.readable().tolist():
            if kept := work.kept(row):
                affines[row] = kept.input_from_canonical
                flagged += [row] if kept.flagged else []
            else:
                unplaced.append(row)
        for first in range(0, len(unplaced), CHUNK):
            at = np.array(unplaced[first : first + CHUNK])
            affines[at], failed = apply_alignment(model, inputs[at], boxes[at], points=landmarks.of_rows(points, at))
            flagged += at[failed].tolist()
            report(first + len(at), len(unplaced))
        by_landmarks = landmarks.placements(work, model, points)
    files.write_npy(work.path("input_from_canonical.npy"), affines)
    return {"flagged": sorted(flagged)} | by_landmarks


def load_checked_alignment(work: RunContext) -> FittedAlignment:
    """The run's alignment, proven to be the detector's and to take films prepared in the same way."""
    path = work.folder.input_path("alignment", work.request)
    wanted = work.detector.alignment_sha256 if work.has_detector else files.sha256_of(path)
    if files.sha256_of(path) != wanted:
        raise IncompatibleModel(
            "The alignment in this run is not the one that the detector was fitted with: score with the model folder "
            "that fit made, as it was."
        )
    model = load_alignment(path)
    if difference := preparation_difference(model.header.get("config", {}), work.config):
        name, theirs, ours = difference
        raise IncompatibleModel(
            f"The alignment was fitted with {name} = {theirs} and the detector asks for {ours}: choose the same, or "
            "fit another alignment."
        )
    return model


def apply_alignment(
    model: FittedAlignment, inputs: Any, boxes: Any, *, points: Sequence[Points] | None = None
) -> tuple[Any, Any]:
    """input_from_canonical (N, 2, 3) and the flag (N,) of inputs (N, S, S) with their film boxes (N, 4) and, for an
    alignment by landmarks, those in input pixels."""
    import torch

    images = torch.from_numpy(np.asarray(inputs, dtype=np.float32))[:, None]
    theta, flagged = model.affines(images, valid_area(boxes, images.shape[-1]), points=points)
    return theta.numpy(), flagged.numpy()


def original_from_canonical(work: RunContext) -> Any:
    """(N, 2, 3) float64 in pixels, resizing and padding included; NaN for a film that could not be read."""
    return compose(work.read("original_from_input.npy"), work.read("input_from_canonical.npy")).numpy()
