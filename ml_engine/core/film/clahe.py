"""Contrast-limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV, VIII.5)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BINS = 256


def clahe(image: NDArray[np.float32], *, clip: float, tiles: int) -> NDArray[np.float32]:
    """The image (H, W) in [0, 1] with the contrast of each tile equalised, float32 in [0, 1].

    The image is divided into ``tiles`` x ``tiles`` tiles whose sides differ by at most one pixel; a side of fewer
    pixels has one tile per pixel. Each tile's histogram of 256 gray levels is clipped at ``clip`` times the count of a
    uniform histogram, and the excess is spread evenly over all levels, once. The cumulative histogram maps the tile's
    gray levels to [0, 1]. Between tile centres the mappings are interpolated bilinearly; beyond the outermost centres
    they are constant. A tile of a single gray level keeps no contrast; a clip of 256 limits nothing.
    """
    height, width = image.shape
    rows, columns = _edges(height, tiles), _edges(width, tiles)
    levels = np.minimum((image.astype(np.float64) * BINS).astype(np.int64), BINS - 1)
    maps = np.array(
        [
            [_map_of(levels[top:bottom, left:right], clip) for left, right in pairwise(columns)]
            for top, bottom in pairwise(rows)
        ]
    )  # (tile rows, tile columns, BINS)
    above, below, down = _between(rows, height)
    before, after, across = _between(columns, width)
    down, across = down[:, None], across[None, :]

    def at(tile_rows: NDArray[np.int64], tile_columns: NDArray[np.int64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = maps[tile_rows[:, None], tile_columns[None, :], levels]
        return values

    upper = (1 - across) * at(above, before) + across * at(above, after)
    lower = (1 - across) * at(below, before) + across * at(below, after)
    return ((1 - down) * upper + down * lower).astype(np.float32)


def _edges(length: int, tiles: int) -> NDArray[np.int64]:
    """The tile borders along a side, int64 (tiles + 1,)."""
    count = min(tiles, length)
    return np.arange(count + 1) * length // count


def _map_of(levels: NDArray[np.int64], clip: float) -> NDArray[np.float64]:
    """The new value in [0, 1] of each gray level of a tile, float64 (BINS,)."""
    histogram = np.bincount(levels.ravel(), minlength=BINS).astype(np.float64)
    limit = clip * levels.size / BINS
    excess = np.maximum(histogram - limit, 0).sum()
    flattened = np.minimum(histogram, limit) + excess / BINS
    cumulated: NDArray[np.float64] = np.cumsum(flattened) / levels.size
    return np.minimum(cumulated, 1.0)


def _between(edges: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each pixel along a side: the tiles whose centres enclose it, and its distance from the first in [0, 1]."""
    centres = (edges[:-1] + edges[1:]) / 2
    places = np.arange(length) + 0.5
    second = np.clip(np.searchsorted(centres, places), 0, len(centres) - 1)
    first = np.clip(second - 1, 0, None)
    first = np.where(places <= centres[0], 0, np.where(places >= centres[-1], len(centres) - 1, first))
    second = np.where(places >= centres[-1], len(centres) - 1, second)
    gap = centres[second] - centres[first]
    share = np.where(gap > 0, (places - centres[first]) / np.where(gap > 0, gap, 1), 0.0)
    return first, second, share
