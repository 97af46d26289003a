"""The stack of films that a person has aligned: its mean, the canonical image (paper, Fig. 6), and its variance.

Sums are of whole numbers, so that a film that is taken out and put in again leaves them as they were, whatever the
order. Loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 65535  # of an image in [0, 1]
CUBIC = -0.75  # of the bicubic kernel, as torch's
LEAST_VALID = 0.999


@dataclass(frozen=True)
class Stack:
    """``sums`` int64 (3, S, S): at each canonical pixel how many films cover it, the sum of their values in `LEVELS`,
    and the sum of the squares; ``films`` how many there are."""

    sums: NDArray[np.int64]
    films: int

    @classmethod
    def empty(cls, side: int) -> Stack:
        return cls(np.zeros((3, side, side), dtype=np.int64), 0)

    def plus(self, layer: NDArray[np.int64]) -> Stack:
        """With another film, a `layer`."""
        return Stack(self.sums + layer, self.films + 1)

    def minus(self, layer: NDArray[np.int64]) -> Stack:
        """Without a film, whose `layer` was added."""
        return Stack(self.sums - layer, self.films - 1)

    def mean(self) -> NDArray[np.float32]:
        """The canonical image, float32 (S, S) in [0, 1]: over the films that cover a pixel, 0 where fewer than a tenth
        of them do (as `canonical.mean_of_aligned`)."""
        count, total, _ = self.sums
        enough = count >= max(1.0, 0.1 * self.films)
        return np.where(enough, total / np.maximum(count, 1) / LEVELS, 0).astype(np.float32)

    def variance(self) -> NDArray[np.float64]:
        """The variance over the films that cover a pixel, float64 (S, S) in squared units of [0, 1]; 0 where fewer than
        two do."""
        count, total, squares = (part.astype(np.float64) for part in self.sums)
        seen = np.maximum(count, 1)
        variance = (squares / seen - (total / seen) ** 2) / LEVELS**2
        return np.where(count >= 2, np.maximum(variance, 0), 0)

    def mean_variance(self) -> float | None:
        """The variance, averaged over the pixels that at least two films and half of them cover; None without one."""
        often = self.sums[0] >= max(2.0, self.films / 2)
        return float(self.variance()[often].mean()) if often.any() else None


def layer(
    image: NDArray[np.float32], box: tuple[int, int, int, int], input_from_canonical: NDArray[np.float64]
) -> NDArray[np.int64]:
    """What a film adds to the sums of a stack, int64 (3, S, S).

    ``image`` float32 (S, S) in [0, 1] shows the film inside ``box`` (top, left, bottom, right);
    ``input_from_canonical`` float64 (3, 3) in pixels may be a perspective. Sampled bicubically, as the paper states, by
    the convention of `grid_sample` with align_corners=False and zeros outside.
    """
    side = len(image)
    centres = np.arange(side) + 0.5
    x, y = np.meshgrid(centres, centres)
    columns = np.stack([x.ravel(), y.ravel(), np.ones(side * side)])
    at = input_from_canonical @ columns
    depth = at[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = at[0] / depth, at[1] / depth
    in_front = (depth > 0) & np.isfinite(u) & np.isfinite(v)
    u, v = np.where(in_front, u, -1e6), np.where(in_front, v, -1e6)
    covered = _covered(u, v, box)
    values = np.clip(_bicubic(image, u, v), 0, 1)
    levels = np.where(covered, np.rint(values * LEVELS), 0).astype(np.int64)
    return np.stack([covered.astype(np.int64), levels, levels**2]).reshape(3, side, side)


def _covered(u: NDArray[np.float64], v: NDArray[np.float64], box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Whether all pixels that a bilinear sample at (u, v) takes lie in the box."""
    top, left, bottom, right = box
    across = np.clip(np.minimum(u - left + 0.5, right + 0.5 - u), 0, 1)
    down = np.clip(np.minimum(v - top + 0.5, bottom + 0.5 - v), 0, 1)
    return np.asarray(across * down > LEAST_VALID)


def _bicubic(image: NDArray[np.float32], u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """The image (S, S) sampled at continuous pixels (u, v), each (P,); 0 outside."""
    side = len(image)
    padded = np.pad(image.astype(np.float64), 1)  # any index outside is moved to the border of zeros
    first_x, first_y = np.floor(u - 0.5), np.floor(v - 0.5)
    across, down = _weights(u - 0.5 - first_x), _weights(v - 0.5 - first_y)
    columns = [np.clip(first_x + step + 1, 0, side + 1).astype(np.int64) for step in (-1, 0, 1, 2)]
    rows = [np.clip(first_y + step + 1, 0, side + 1).astype(np.int64) for step in (-1, 0, 1, 2)]
    total = np.zeros(len(u))
    for row, weight in zip(rows, down, strict=True):
        line = np.zeros(len(u))
        for column, part in zip(columns, across, strict=True):
            line += part * padded[row, column]
        total += weight * line
    return total


def _weights(t: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The cubic kernel at the four pixels around a sample, ``t`` in [0, 1) after the second of them."""
    a = CUBIC

    def near(d: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]
