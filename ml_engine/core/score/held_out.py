"""Mean and deviation of the films of other patients, by which a normal film is standardised as a new film would be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_OTHERS = 2  # films


def moments_of_others(
    values: NDArray[np.float64], patients: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """For each of the values (n, ...), the mean and standard deviation of those of other patients, (n, ...) each.

    ``patients`` int64 (n,) are group numbers; without them each film is its own patient. The deviation divides by the
    number of these films less one. None where fewer than `LEAST_OTHERS` films are left for any film.
    """
    count = len(values)
    groups = np.arange(count) if patients is None else np.unique(patients, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(groups, minlength=1)
    others = count - sizes
    if count == 0 or others.min() < LEAST_OTHERS:
        return None
    middle = values.mean(axis=0)
    centred = values - middle  # smaller numbers, whose squares lose fewer digits
    sums, squares = (np.zeros((len(sizes), *values.shape[1:])) for _ in range(2))
    np.add.at(sums, groups, centred)
    np.add.at(squares, groups, centred**2)
    weight = others.reshape(-1, *[1] * (values.ndim - 1))
    mean = (sums.sum(axis=0) - sums) / weight
    variance = np.maximum(squares.sum(axis=0) - squares - weight * mean**2, 0) / (weight - 1)
    return (middle + mean)[groups], np.sqrt(variance)[groups]
