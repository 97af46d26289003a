"""A film's place in the canonical frame as a person gives it: by handles, or by landmarks. Loads no torch.

The films that are averaged into a hand-made canonical image may be placed by a perspective, as the paper states of its
own (section 3.1); a film that is scored is always placed by an affine, which is all that the network predicts (Eq. 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import EngineError

Matrix = NDArray[np.float64]  # (3, 3), original_from_canonical in pixels unless another name says otherwise
LEAST_LANDMARKS = 6
LINE = 0.02  # landmarks count as collinear if their spread across the line is at most this share of that along it
LEAST_DEPTH = 0.2  # at a corner of the frame, of that at its centre; less is near the vanishing line
LEAST_SHARE = 0.1  # of the frame that the film has to fill
LEAST_SHOWN = 0.01  # of the film's area that the frame has to show; less is a film enlarged by mistake


class InvalidPlacement(EngineError):
    """A transform that no film can be placed by."""


@dataclass(frozen=True)
class LandmarkFit:
    """``matrix`` float64 (3, 3), original_from_canonical in pixels, an affine; ``residuals_px`` the distance of each
    landmark from its target in canonical pixels, ``rms_px`` their root mean square."""

    matrix: Matrix
    residuals_px: tuple[float, ...]
    rms_px: float


def fit_affine(points: Sequence[Sequence[float]], targets: Sequence[Sequence[float]]) -> LandmarkFit:
    """The affine that maps the ``targets`` (P, 2), canonical pixels, to the film's ``points`` (P, 2), original pixels,
    with the least squared distances in the film.

    Raises InvalidPlacement for fewer than six landmarks, and where they lie on a line.
    """
    film, canonical = np.asarray(points, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if film.shape != canonical.shape or film.ndim != 2 or film.shape[1] != 2:
        raise InvalidPlacement("Each landmark needs x and y on the film and x and y in the canonical frame.")
    if len(film) < LEAST_LANDMARKS:
        raise InvalidPlacement(f"{len(film)} landmarks are marked: mark at least {LEAST_LANDMARKS}.")
    if not (np.isfinite(film).all() and np.isfinite(canonical).all()):
        raise InvalidPlacement("A landmark's x or y is not a finite number: mark it again.")
    require_spread(film)
    require_spread(canonical)
    solution, *_ = np.linalg.lstsq(np.column_stack([canonical, np.ones(len(film))]), film, rcond=None)
    matrix = np.vstack([solution.T, [0.0, 0.0, 1.0]])
    misses = project(np.linalg.inv(matrix), film) - canonical
    residuals = np.hypot(misses[:, 0], misses[:, 1])
    return LandmarkFit(matrix, tuple(residuals.tolist()), float(np.sqrt(np.mean(residuals**2))))


def require_spread(landmarks: Sequence[Sequence[float]] | NDArray[np.float64]) -> None:
    """Raises InvalidPlacement where the landmarks (P, 2) lie on a line, so that no affine follows from them."""
    points = np.asarray(landmarks, dtype=np.float64)
    along, across = np.linalg.svd(points - points.mean(0), compute_uv=False)[:2]
    if across <= LINE * along:
        raise InvalidPlacement("The landmarks lie on a line: mark some beside it.")


def usable(values: Sequence[float], *, side: int, film: tuple[int, int], affine: bool = False) -> Matrix:
    """The 3 x 3 ``values``, row by row, as an original_from_canonical whose last entry is 1.

    ``film`` is the height and width of the film in pixels, ``side`` that of the canonical frame. Raises
    InvalidPlacement where the values are no transform, where it turns the film inside out or folds it over inside the
    frame, where the film fills less than a tenth of the frame, where the frame shows less than a hundredth of the film,
    and for a perspective where ``affine`` is wanted.
    """
    matrix: Matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != (9,) or not np.isfinite(matrix).all() or abs(matrix[8]) < 1e-12:
        raise InvalidPlacement("The transform must be nine finite numbers, the last of them not 0.")
    matrix = matrix.reshape(3, 3) / matrix[8]
    if affine and (np.abs(matrix[2, :2]) > 1e-12).any():
        raise InvalidPlacement("The transform has a perspective: a fitted film is placed by an affine only.")
    if affine:
        matrix[2] = [0.0, 0.0, 1.0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], dtype=np.float64)
    middle = float(matrix[2] @ [side / 2, side / 2, 1.0])
    depths = np.column_stack([corners, np.ones(4)]) @ matrix[2]
    if middle <= 0 or depths.min() < LEAST_DEPTH * middle:
        raise InvalidPlacement("The perspective folds the film over inside the frame: use less of it.")
    if np.linalg.det(matrix) <= 0:
        raise InvalidPlacement("The transform turns the film inside out: undo the last steps.")
    if frame_filled(matrix, side=side, film=film) < LEAST_SHARE:
        raise InvalidPlacement(
            f"The film fills less than {LEAST_SHARE:.0%} of the frame: shift it back, or reset it and begin again."
        )
    if _area(project(matrix, corners)) < LEAST_SHOWN * film[0] * film[1]:
        raise InvalidPlacement(
            f"The frame shows less than {LEAST_SHOWN:.0%} of the film: make it smaller, or reset it and begin again."
        )
    return matrix


def _area(corners: NDArray[np.float64]) -> float:
    """Of the quadrilateral with the corners (4, 2), in order, in squared pixels."""
    x, y = (corners - corners[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def frame_filled(matrix: Matrix, *, side: int, film: tuple[int, int]) -> float:
    """The share of the canonical frame that lies inside the film, 0 to 1, of 32 x 32 points."""
    steps = (np.arange(32) + 0.5) * side / 32
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    x, y = project(matrix, grid).T
    height, width = film
    return float(np.mean((x >= 0) & (x <= width) & (y >= 0) & (y <= height)))


def project(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points (P, 2), each (x, y), mapped by the matrix (3, 3)."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])
