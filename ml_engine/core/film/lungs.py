"""Where the lungs lie in the canonical image, found in aligned films [o]."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

LEVELS = 40
LEAST_SHARE, MOST_SHARE = 0.015, 0.25  # of the image, that one lung may fill
TEMPLATE = ((0.31, 0.46), (0.69, 0.46))  # centres, as shares of the side
TEMPLATE_RADII = (0.12, 0.24)


def find_lungs(films: Iterable[NDArray[np.floating]], side: int) -> tuple[NDArray[np.bool_], str]:
    """The two lungs, bool (2, side, side), the one on the left of the image first, and how they were found.

    ``films`` are aligned, (side, side) in [0, 1]. In each film and each half of it, the lung is the largest dark area
    that touches no border, over `LEVELS` gray levels. A pixel is lung where it is in more than half of the films that
    show both ("films"); where fewer than half of the films do, two ellipses stand in ("template").
    """
    votes, count, seen = np.zeros((2, side, side)), 0, 0
    for film in films:
        count += 1
        pair = lungs_of(film)
        if pair is not None:
            votes += pair
            seen += 1
    lungs = votes > seen / 2
    if seen * 2 < count or seen == 0 or not lungs.any((1, 2)).all():
        return _template(side), "template"
    return lungs, "films"


def lungs_of(film: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """The lungs of one aligned film as bool (2, S, S), the bays of ribs closed; None where either is not seen."""
    from scipy import ndimage

    side = film.shape[0]
    smooth = ndimage.gaussian_filter(film.astype(np.float64), side / 112)
    halves: list[NDArray[np.bool_] | None] = [None, None]
    lowest, highest = np.percentile(smooth, [3, 90])
    for level in np.linspace(lowest, highest, LEVELS):
        for half, area in _areas_below(smooth < level):
            best = halves[half]
            if best is None or area.sum() > best.sum():
                halves[half] = area
    left, right = halves
    if left is None or right is None:
        return None
    return np.stack([_closed(left), _closed(right)])


def _closed(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The area without holes, and without bays narrower than a twelfth of the side."""
    from scipy import ndimage

    radius = max(1, round(area.shape[0] / 24))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    padded = np.pad(area, radius)
    closed = ndimage.binary_closing(padded, x**2 + y**2 <= radius**2)[radius:-radius, radius:-radius]
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(closed)
    return filled


def _areas_below(dark: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """The areas of a lung's size that touch no border, each with its half: 0 left, 1 right."""
    from scipy import ndimage

    side = dark.shape[0]
    areas, count = ndimage.label(dark)
    at_border = set(np.unique(np.r_[areas[0], areas[-1], areas[:, 0], areas[:, -1]]).tolist())
    sizes = np.bincount(areas.ravel(), minlength=count + 1)
    for number in np.flatnonzero((sizes >= LEAST_SHARE * side**2) & (sizes <= MOST_SHARE * side**2)).tolist():
        if number and number not in at_border:
            area = areas == number
            yield int(np.nonzero(area)[1].mean() >= side / 2), area


def _template(side: int) -> NDArray[np.bool_]:
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    across, down = TEMPLATE_RADII
    return np.stack([((x - cx) / across) ** 2 + ((y - cy) / down) ** 2 < 1 for cx, cy in TEMPLATE])
