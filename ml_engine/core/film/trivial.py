"""Trivial scores that ignore the anatomy, as a baseline that every method has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAMES = ("brightness", "gradient", "size")


def trivial_scores(
    image: NDArray[np.float32], box: NDArray[np.int64], original_from_input: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The scores `NAMES` of one film, float64 (3,).

    ``image`` float32 (S, S) in [0, 1] is the input before alignment, ``box`` int64 (4,) the film inside it without
    padding (top, left, bottom, right), ``original_from_input`` float64 (2, 3) the affine to original pixels.
    Brightness is the mean intensity and gradient the mean magnitude of its gradient per input pixel, both inside the
    film; size is the film's area in original pixels. All NaN where the film has fewer than two pixels along a side.
    """
    top, left, bottom, right = box.tolist()
    inside = image[top:bottom, left:right].astype(np.float64)
    if min(inside.shape) < 2:
        return np.full(len(NAMES), np.nan)
    down, across = np.gradient(inside)
    area = inside.size * abs(float(np.linalg.det(original_from_input[:, :2])))
    return np.array([inside.mean(), np.hypot(down, across).mean(), area])
