"""The landmarks of a run's films, from original pixels to those of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.alignment.landmarks import InvalidLandmarks, Points
from ml_engine.core.alignment.model import FittedAlignment
from ml_engine.core.geometry import apply, invert
from ml_engine.core.json_objects import to_json
from ml_engine.engine import landmarks
from ml_engine.engine.landmarks import Mark
from ml_engine.engine.reports import FilmResidual
from ml_engine.engine.stages.run_context import RunContext

SLACK = 1.0  # input pixels by which a landmark may lie outside its film: the film's box is in whole pixels


def input_points(work: RunContext) -> list[Points]:
    """Each row's landmarks in pixels of the input, empty where it has none or could not be read.

    Raises EngineError without inputs/landmarks.csv, InvalidLandmarks for one of another film or one outside it.
    """
    marks = landmarks.read(work.folder.input_path("landmarks", work.request))
    boxes, affines = work.read("boxes.npy"), work.read("original_from_input.npy")
    unreadable = work.errors
    found: list[Points] = []
    for k, film in enumerate(landmarks.by_row(marks, work.rows)):
        found.append({} if k in unreadable or not film else _points(film, boxes[k], affines[k]))
    return found


def _points(film: Sequence[Mark], box: NDArray[np.int64], affine: NDArray[np.float64]) -> Points:
    at = apply(invert(affine), np.array([(mark.x, mark.y) for mark in film])).numpy()
    top, left, bottom, right = box
    for mark, (x, y) in zip(film, at, strict=True):
        if not (left - SLACK <= x <= right + SLACK and top - SLACK <= y <= bottom + SLACK):
            width, height = np.rint(apply(affine, np.array([[right, bottom]])).numpy()[0]).astype(int).tolist()
            raise InvalidLandmarks(
                f"The landmark {mark.name} of {mark.film} is at ({mark.x:g}, {mark.y:g}), outside the film, whose "
                f"last corner is near ({width}, {height}): write x and y in original pixels."
            )
    return {mark.name: (float(x), float(y)) for mark, (x, y) in zip(film, at, strict=True)}


def points_for(work: RunContext, model: FittedAlignment) -> list[Points] | None:
    """The landmarks of each row where the model aligns by them, else None."""
    return input_points(work) if model.config.method == "landmarks" else None


def of_rows(points: Sequence[Points] | None, rows: NDArray[np.int64]) -> list[Points] | None:
    return None if points is None else [points[k] for k in rows]


def placements(work: RunContext, model: FittedAlignment, points: Sequence[Points] | None) -> dict[str, Any]:
    """What is said of each film that could be read: its row with its residual in canonical pixels, or the reason
    why its landmarks do not align it; {} for an alignment that goes by other means."""
    if points is None:
        return {}
    size = work.config.alignment.size if work.request.kind == "fit_alignment" else work.config.size
    found: list[FilmResidual] = []
    for k in work.readable().tolist():
        placed = model.placed(points[k], size=size)
        found.append(FilmResidual(row=k, residual_px=placed.residual, reason=placed.reason))
        if placed.reason:
            work.folder.log(f"Row {k + 1} of images.csv stays as it came: {placed.reason}.")
    return {"landmarks": to_json(found)}
