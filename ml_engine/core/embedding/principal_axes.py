"""Principal components, by the eigenvectors of the covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK = 4096  # films at once

Array = NDArray[np.float64]


def principal_coordinates(features: NDArray[np.floating], count: int) -> Array:
    """The coordinates float64 (N, ``count``) of features (N, D) on their first principal axes, centred.

    Each axis points where its largest loading is positive, so that the same features give the same picture. Axes beyond
    those that the features span are 0.
    """
    films, wide = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((wide, wide))
    for first in range(0, films, CHUNK):
        rows = features[first : first + CHUNK] - mean
        covariance += rows.T @ rows
    values, vectors = np.linalg.eigh(covariance)
    kept = min(count, wide, max(films - 1, 0))
    order = np.argsort(-values, kind="stable")[:kept]
    axes = vectors[:, order]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(kept)] < 0, -1.0, 1.0)
    coordinates = np.zeros((films, count))
    for first in range(0, films, CHUNK):
        coordinates[first : first + CHUNK, :kept] = (features[first : first + CHUNK] - mean) @ axes
    return coordinates
