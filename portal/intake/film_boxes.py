"""The boxes of a table on a film: turned with it, cut at its edge, and left out where they lie beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from portal.imaging.orientation import UPRIGHT, stored_size, turned_box
from portal.intake.csv_labels import Box


@dataclass(frozen=True)
class FittedBoxes:
    """`boxes` lie inside the film; the others are numbers of boxes."""

    boxes: tuple[Box, ...]
    outside: int = 0
    cut: int = 0
    turned: int = 0


def fit_boxes(boxes: Sequence[Box], *, rows: int, columns: int, orientation: int = UPRIGHT) -> FittedBoxes:
    """Return the boxes as they lie on a film of `rows` x `columns`, which was turned by its EXIF `orientation`.

    The tables of a turned picture give stored pixels, as do the programs that ignore the orientation. Only where the
    boxes fit the turned picture, and not the stored one, were they drawn on the turned one.
    """
    turned = _turned(boxes, rows, columns, orientation)
    inside = [_cut(box, rows, columns) for box in turned]
    kept = [box for box in inside if box is not None]
    return FittedBoxes(
        boxes=tuple(kept),
        outside=len(inside) - len(kept),
        cut=sum(box is not None and box != original for box, original in zip(inside, turned, strict=True)),
        turned=sum(box != original for box, original in zip(turned, boxes, strict=True)),
    )


def _turned(boxes: Sequence[Box], rows: int, columns: int, orientation: int) -> list[Box]:
    if orientation == UPRIGHT:
        return list(boxes)
    if not _all_fit(boxes, *stored_size(orientation, rows, columns)) and _all_fit(boxes, rows, columns):
        return list(boxes)
    places = [turned_box((box.x, box.y, box.width, box.height), orientation, rows, columns) for box in boxes]
    return [
        replace(box, x=x, y=y, width=width, height=height)
        for box, (x, y, width, height) in zip(boxes, places, strict=True)
    ]


def _all_fit(boxes: Sequence[Box], rows: int, columns: int) -> bool:
    return all(_cut(box, rows, columns) == box for box in boxes)


def _cut(box: Box, rows: int, columns: int) -> Box | None:
    """The part of a box that lies on the film; None if it has no area."""
    left, top = max(box.x, 0.0), max(box.y, 0.0)
    right, bottom = min(box.x + box.width, float(columns)), min(box.y + box.height, float(rows))
    if right <= left or bottom <= top:
        return None
    if (left, top, right, bottom) == (box.x, box.y, box.x + box.width, box.y + box.height):
        return box
    return replace(box, x=left, y=top, width=right - left, height=bottom - top)
