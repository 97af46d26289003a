"""Black out boxes of a film: for good, since the pixels below them may show an identifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portal.imaging.film import Film, linear_values

MOST_BOXES = 50


class InvalidBlackOut(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class PixelBox:
    """A rectangle in whole pixels of the film, (x, y) its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    def to_json(self) -> dict[str, int]:
        return {"x": self.x, "y": self.y, "width": self.width, "height": self.height}


def checked_boxes(data: object, *, rows: int, columns: int) -> list[PixelBox]:
    """The boxes, cut at the edges of a film of this size, from parsed JSON. Raises InvalidBlackOut."""
    if not isinstance(data, list) or not data:
        raise InvalidBlackOut("There is no box; draw one around the text, or say that the film shows none.")
    if len(data) > MOST_BOXES:
        raise InvalidBlackOut(f"There are {len(data)} boxes; draw at most {MOST_BOXES}, larger ones if need be.")
    return [_checked(box, number, rows=rows, columns=columns) for number, box in enumerate(data, start=1)]


def _checked(box: object, number: int, *, rows: int, columns: int) -> PixelBox:
    try:
        assert isinstance(box, dict)
        x, y, width, height = (float(box[side]) for side in ("x", "y", "width", "height"))
        left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
        right, bottom = min(columns, int(np.ceil(x + width))), min(rows, int(np.ceil(y + height)))
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError):
        raise InvalidBlackOut(
            f"Box {number} has not the four numbers x, y, width and height, in pixels of the film; draw it again."
        ) from None
    if not (width > 0 and height > 0) or right <= left or bottom <= top:
        raise InvalidBlackOut(f"Box {number} has no pixel inside the film of {columns} × {rows} pixels; draw it again.")
    return PixelBox(left, top, right - left, bottom - top)


def black_out(film: Film, boxes: Sequence[PixelBox]) -> Film:
    """The film whose pixels in the boxes have the darkest value, as it is shown, of those outside. Raises
    InvalidBlackOut where nothing is outside."""
    inside = np.zeros(film.stored.shape, dtype=np.bool_)
    for box in boxes:
        inside[box.y : box.y + box.height, box.x : box.x + box.width] = True
    if inside.all():
        raise InvalidBlackOut("The boxes cover the whole film; exclude it, or erase its patient, instead.")
    shown = linear_values(film)
    darkest = film.stored[~inside][int(np.argmin(shown[~inside]))]
    stored = film.stored.copy()
    stored[inside] = darkest
    return Film(stored, film.facts)
