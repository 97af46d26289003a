"""Perspective transformations from landmarks, for the films averaged into the canonical image (paper, section 3.1).

The network predicts affines (Eq. 2), and films are scored after an affine alignment only.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core.alignment.landmarks import LandmarkPlacement, Points, place, shared_points

LEAST = 4  # number of landmarks that a perspective needs, no three of them on a line
LEAST_DEPTH = 0.2  # minimum depth at a corner relative to the centre; a smaller one is near the vanishing line


def place_in_perspective(points: Points, canonical: Points, *, size: int) -> LandmarkPlacement:
    """The placement of a film by a perspective from the canonical landmarks to its own.

    Landmarks are in pixels of square frames of the side ``size``. ``input_from_canonical`` is float64 (3, 3) with 1 as
    its last entry; it minimises the squared distances from the film's landmarks, starting from their affine.
    ``residual`` is the root mean square distance in canonical pixels, as for an affine. Where fewer than four landmarks
    are shared, or they do not determine a perspective of the frame, ``reason`` explains why and the matrix is the
    identity.
    """
    from scipy.optimize import least_squares

    source, target = shared_points(points, canonical)
    affine = place(points, canonical)
    if affine.reason:
        return LandmarkPlacement(torch.eye(3, dtype=torch.float64), None, affine.reason)
    if len(source) < LEAST:
        return _none(f"it has {len(source)} of the canonical landmarks, and {LEAST} are needed for a perspective")
    half = size / 2
    unit = np.array([[1 / half, 0, -1], [0, 1 / half, -1], [0, 0, 1]])  # pixels to [-1, 1]: all parameters near 1
    start = unit @ np.vstack([affine.input_from_canonical.numpy(), [0, 0, 1]]) @ np.linalg.inv(unit)
    from_points, to_points = _project(unit, source), _project(unit, target)

    def misses(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return (_project(np.append(parameters, 1).reshape(3, 3), from_points) - to_points).ravel()

    solution = least_squares(misses, start.ravel()[:8], xtol=1e-12, ftol=1e-12, gtol=1e-12)
    matrix = np.append(solution.x, 1).reshape(3, 3)
    if np.linalg.matrix_rank(solution.jac, tol=1e-6 * np.linalg.norm(solution.jac)) < 8:
        return _none("three of its four landmarks lie on a line")
    corners = np.array([[-1, -1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]])
    if (corners @ matrix[2]).min() < LEAST_DEPTH or np.linalg.det(matrix) <= 0:
        return _none("its landmarks give a perspective that folds over within the frame")
    matrix = np.linalg.inv(unit) @ matrix @ unit
    back = _project(np.linalg.inv(matrix), target) - source
    return LandmarkPlacement(torch.from_numpy(matrix / matrix[2, 2]), float(np.sqrt((back**2).sum(1).mean())))


def normalised_perspective(matrix: Tensor, size: int) -> Tensor:
    """Perspectives (..., 3, 3) in pixels of square frames of the side ``size``, converted for `sample`: from [-1, 1] of
    the canonical image to [-1, 1] of the film."""
    half = size / 2
    pixels = torch.tensor([[half, 0, half], [0, half, half], [0, 0, 1]], dtype=matrix.dtype)
    normalised: Tensor = torch.linalg.inv(pixels) @ matrix @ pixels
    return normalised


def _none(reason: str) -> LandmarkPlacement:
    return LandmarkPlacement(torch.eye(3, dtype=torch.float64), None, reason)


def _project(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points (P, 2) mapped by a perspective (3, 3)."""
    xyw = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(xyw[:, :2] / xyw[:, 2:])
