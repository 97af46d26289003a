"""The lung areas of the canonical frame, segmented in aligned films. Our own method: the paper has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

LEVELS = 40
LEAST_SHARE, MOST_SHARE = 0.015, 0.25  # limits of one lung's share of the image
TEMPLATE = ((0.31, 0.46), (0.69, 0.46))  # centres (x, y) of the two ellipses, as shares of the side
TEMPLATE_RADII = (0.12, 0.24)  # horizontal, vertical


def find_lungs(films: Iterable[NDArray[np.floating]], side: int) -> tuple[NDArray[np.bool_], str]:
    """The two lung areas, bool (2, side, side), the one on the left of the image first, and their source.

    ``films`` are aligned, float (side, side) in [0, 1]. In each half of a film the lung is the largest dark area that
    touches no border, over `LEVELS` gray levels. With source "films", a pixel belongs to a lung where it does so in
    more than half of the films in which both lungs are visible. Where these are fewer than half of all films, the
    areas are two fixed ellipses and the source is "template".
    """
    votes, count, films_with_lungs = np.zeros((2, side, side)), 0, 0
    for film in films:
        count += 1
        pair = lungs_of(film)
        if pair is not None:
            votes += pair
            films_with_lungs += 1
    lungs = votes > films_with_lungs / 2
    if films_with_lungs * 2 < count or films_with_lungs == 0 or not lungs.any((1, 2)).all():
        return _template(side), "template"
    return lungs, "films"


def lungs_of(film: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """The lung areas of an aligned film (S, S), bool (2, S, S), gaps at ribs closed; None unless both are visible."""
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
    """The area with holes filled and with notches narrower than a twelfth of the side closed."""
    from scipy import ndimage

    radius = max(1, round(area.shape[0] / 24))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    padded = np.pad(area, radius)
    closed = ndimage.binary_closing(padded, x**2 + y**2 <= radius**2)[radius:-radius, radius:-radius]
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(closed)
    return filled


def _areas_below(dark: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Each connected area of a lung's size that touches no border, with its half of the image: 0 left, 1 right."""
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
    """Two ellipses at typical places, bool (2, side, side)."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    across, down = TEMPLATE_RADII
    return np.stack([((x - cx) / across) ** 2 + ((y - cy) / down) ** 2 < 1 for cx, cy in TEMPLATE])
