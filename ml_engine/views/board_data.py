"""What the script of an alignment board is sent of its films and their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from django.urls import reverse

from ml_engine.boards import films, stacks
from ml_engine.boards.canonicals import LANDMARKS
from ml_engine.boards.outcome import AlignedFilm
from ml_engine.core.film.square import square_geometry
from ml_engine.models import AlignmentModel, BoardFilm, CanonicalBoard, FilmPlacement
from portal.imaging.film import PixelFacts
from portal.models import Image

SIDE = 448  # of the frame in which films are drawn
STEPS = ((1, "fine"), (2, "usual"), (3, "coarse"))
MOVES = (
    ("x", "Shift to the right", "px"),
    ("y", "Shift down", "px"),
    ("angle", "Rotation, clockwise", "degrees"),
    ("scale", "Scale", "%"),
    ("aspect", "Width against height", "%"),
    ("shear", "Shear", "%"),
)
PERSPECTIVE = (("across", "Perspective across", "%"), ("down", "Perspective down", "%"))


def of_board(board: CanonicalBoard, shown: Sequence[BoardFilm]) -> dict[str, Any]:
    placements, starts = stacks.current_placements(board), films.start_matrices(board)
    return {
        "mode": "canonical",
        "side": board.side,
        "films": [_board_film(board, film, placements.get(film.pk), starts) for film in shown],
        "stackUrl": reverse("ml_engine:board-stack", args=[board.uuid]),
        "meanUrl": reverse("ml_engine:board-picture", args=[board.uuid, "mean"]),
        "varianceUrl": reverse("ml_engine:board-picture", args=[board.uuid, "variance"]),
        "startUrl": start_picture(board),
        "landmarks": list(LANDMARKS),
    }


def start_picture(board: CanonicalBoard) -> str:
    return reverse("ml_engine:run-picture", args=[board.start.run.uuid, "canonical.png"]) if board.start else ""


def _board_film(
    board: CanonicalBoard,
    film: BoardFilm,
    placed: FilmPlacement | None,
    starts: Mapping[str, list[float]],
) -> dict[str, Any]:
    base = _base(film.image, board.side)
    return {
        "name": f"Film {film.position}",
        "position": film.position,
        "state": placed.how if placed else "",
        "base": base,
        "start": starts.get(str(film.image.uuid), base),
        "matrix": placed.matrix if placed else None,
        "points": placed.points if placed else {},
        "targets": placed.targets if placed else {},
        "placed": placed.pk if placed else 0,  # the order in which films were placed
        "rms": placed.rms_px if placed else None,
        "picture": reverse("ml_engine:board-film", args=[board.uuid, film.position]),
        "saveUrl": reverse("ml_engine:board-place", args=[board.uuid, film.position]),
    }


def of_alignment(alignment: AlignmentModel, shown: Sequence[AlignedFilm]) -> dict[str, Any]:
    run = alignment.run.uuid
    return {
        "mode": "outcome",
        "side": SIDE,
        "films": [_aligned_film(alignment, film, number) for number, film in enumerate(shown, start=1)],
        "meanUrl": reverse("ml_engine:run-picture", args=[run, "canonical.png"]),
    }


def _aligned_film(alignment: AlignmentModel, film: AlignedFilm, number: int) -> dict[str, Any]:
    run, image = alignment.run.uuid, film.image.uuid
    frame = films.frame_side(alignment)
    decision = film.decision
    by_hand = decision.affine if decision is not None else None
    matrix = [*np.ravel(by_hand).tolist(), 0.0, 0.0, 1.0] if by_hand is not None else None
    return {
        "name": f"Film {number}",
        "position": number,
        "state": decision.verdict if decision else "",
        "flagged": film.is_flagged,
        "base": _base(film.image, SIDE),
        "start": scaled(film.matrix, frame / SIDE),
        "matrix": scaled(matrix, frame / SIDE) if matrix else None,
        "frame": frame,
        "picture": reverse("ml_engine:alignment-film", args=[run, image]),
        "saveUrl": reverse("ml_engine:alignment-decide", args=[run, image]),
    }


def scaled(matrix: Sequence[float], factor: float) -> list[float]:
    """The matrix (9) from another frame: ``factor`` is its side's ratio to that of the matrix's own."""
    product = np.reshape(matrix, (3, 3)) @ np.diag([factor, factor, 1.0])
    values: list[float] = product.ravel().tolist()
    return values


def _base(image: Image, side: int) -> list[float]:
    """original_from_input (9) of the film in the square frame."""
    facts = PixelFacts.from_json(image.facts)
    affine = square_geometry(facts.rows, facts.columns, side=side, pixel_aspect=facts.aspect)[1]
    values: list[float] = affine.ravel().tolist()
    return values
