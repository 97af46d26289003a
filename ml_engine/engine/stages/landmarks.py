"""The landmarks of a run's films, converted from original to input pixels."""

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

SLACK = 1.0  # input pixels by which a landmark may lie outside its film, whose box is in whole pixels


def input_points(context: RunContext) -> list[Points]:
    """Each row's landmarks in input pixels, empty for a film that has none or could not be read.

    Raises EngineError if inputs/landmarks.csv is missing, InvalidLandmarks for a landmark of an unknown film or outside
    its film.
    """
    marks = landmarks.read(context.folder.input_path("landmarks", context.spec))
    if context.spec.shard:  # those of the other films of the whole run are in the file, too
        names = {row.filename for row in context.rows}
        marks = [mark for mark in marks if mark.film in names]
    boxes, affines = context.read("boxes.npy"), context.read("original_from_input.npy")
    unreadable = context.errors
    points: list[Points] = []
    for k, film in enumerate(landmarks.by_row(marks, context.rows)):
        points.append({} if k in unreadable or not film else _points(film, boxes[k], affines[k]))
    return points


def _points(film: Sequence[Mark], box: NDArray[np.int64], affine: NDArray[np.float64]) -> Points:
    at = apply(invert(affine), np.array([(mark.x, mark.y) for mark in film])).numpy()
    top, left, bottom, right = box
    for mark, (x, y) in zip(film, at, strict=True):
        if not (left - SLACK <= x <= right + SLACK and top - SLACK <= y <= bottom + SLACK):
            width, height = np.rint(apply(affine, np.array([[right, bottom]])).numpy()[0]).astype(int).tolist()
            raise InvalidLandmarks(
                f"The landmark {mark.name} of {mark.film} is at ({mark.x:g}, {mark.y:g}), outside the film, whose "
                f"lower right corner is near ({width}, {height}): write x and y in original pixels."
            )
    return {mark.name: (float(x), float(y)) for mark, (x, y) in zip(film, at, strict=True)}


def points_for(context: RunContext, model: FittedAlignment) -> list[Points] | None:
    """The landmarks of each row if the model aligns by landmarks, otherwise None."""
    return input_points(context) if model.config.method == "landmarks" else None


def for_rows(points: Sequence[Points] | None, rows: NDArray[np.int64]) -> list[Points] | None:
    return None if points is None else [points[k] for k in rows]


def placements(context: RunContext, model: FittedAlignment, points: Sequence[Points] | None) -> dict[str, Any]:
    """{"landmarks": [...]}: for each readable film its row and its residual in canonical pixels, or the reason why its
    landmarks do not align it. {} for an alignment by other means."""
    if points is None:
        return {}
    size = context.config.alignment.size if context.spec.kind == "fit_alignment" else context.config.size
    residuals: list[FilmResidual] = []
    for k in context.readable().tolist():
        placed = model.placed(points[k], size=size)
        residuals.append(FilmResidual(row=k, residual_px=placed.residual, reason=placed.reason))
        if placed.reason:
            context.folder.log(f"Row {k + 1} of images.csv is not aligned: {placed.reason}.")
    return {"landmarks": to_json(residuals)}
