"""The boxes of several readers of a film as one set, in which no lesion counts twice.

Boxes of one finding by different readers that overlap by at least `SAME` (intersection over union) are one lesion, and
its box is the mean of theirs, corner by corner, as weighted boxes fusion with equal weights (Solovyev, Wang and
Gabruseva 2021). A box that one reader alone drew stays: no reader saw the boxes of the others, so that it is not
contradicted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[float, float, float, float, str]  # x, y, width, height, finding
SAME = 0.4  # the threshold that VinDr-CXR's challenge scored boxes with


def fused(by_reader: Sequence[Sequence[Box]]) -> tuple[Box, ...]:
    """The lesions in the order in which they were first drawn."""
    lesions: list[dict[int, Box]] = []  # the box of each reader
    for reader, boxes in enumerate(by_reader):
        for box in boxes:
            overlaps = [
                _overlap(_mean(lesion), box) if reader not in lesion and _is_same_finding(lesion, box) else 0.0
                for lesion in lesions
            ]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= SAME:
                lesions[best][reader] = box
            else:
                lesions.append({reader: box})
    return tuple(_mean(lesion) for lesion in lesions)


def _is_same_finding(lesion: dict[int, Box], box: Box) -> bool:
    return next(iter(lesion.values()))[4].casefold() == box[4].casefold()


def _mean(lesion: dict[int, Box]) -> Box:
    boxes = list(lesion.values())
    corners = np.array([[x, y, x + width, y + height] for x, y, width, height, _ in boxes])
    left, top, right, bottom = (float(side) for side in corners.mean(axis=0))
    return left, top, right - left, bottom - top, boxes[0][4]


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    inside = max(width, 0.0) * max(height, 0.0)
    union = one[2] * one[3] + other[2] * other[3] - inside
    return inside / union if union > 0 else 0.0
