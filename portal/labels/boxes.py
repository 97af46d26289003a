"""Boxes of labels, {"x", "y", "width", "height", "finding"} in original pixels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from portal.models import Image, LabelEvent

MOST_BOXES = 50  # on a film
LONGEST_FINDING = 100  # characters


class InvalidBox(Exception):
    """The message is shown to the user."""


def checked_boxes(boxes: Sequence[Mapping[str, Any]], image: Image) -> list[dict[str, Any]]:
    """Return the boxes as they are stored: finite, of positive size and inside the film. Raises InvalidBox."""
    if len(boxes) > MOST_BOXES:
        raise InvalidBox(f"{len(boxes)} boxes are drawn; draw at most {MOST_BOXES}.")
    return [_checked_box(box, image) for box in boxes]


def _checked_box(box: Mapping[str, Any], image: Image) -> dict[str, Any]:
    try:
        x, y, width, height = (float(box[name]) for name in ("x", "y", "width", "height"))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidBox("A box needs x, y, width and height in film pixels; draw it again.") from None
    inside = x >= 0 and y >= 0 and x + width <= image.columns and y + height <= image.rows
    if not all(math.isfinite(side) for side in (x, y, width, height)) or not inside or width <= 0 or height <= 0:
        raise InvalidBox(
            f"A box at ({x:g}, {y:g}) of {width:g} × {height:g} pixels does not fit the film of {image.columns} × "
            f"{image.rows} pixels; draw it inside the film."
        )
    finding = str(box.get("finding") or "")
    if len(finding) > LONGEST_FINDING or "\0" in finding:
        raise InvalidBox(
            f"The finding of a box is too long or contains a NUL character; write at most {LONGEST_FINDING} characters."
        )
    return {"x": x, "y": y, "width": width, "height": height, "finding": finding}


def boxes_shown(events: Iterable[LabelEvent]) -> list[dict[str, Any]]:
    """Return the boxes of each author's latest event that is not reverted, with its source. `events` are those of one
    film, oldest first. A box that a label kept from an earlier one is shown once, as that of the later label."""
    events = list(events)
    reverted = {event.reverts_id for event in events if event.reverts_id}
    counted = [event for event in events if not event.reverts_id and event.pk not in reverted]
    latest = {(event.author_id, event.reader): event for event in counted}
    shown: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in sorted(latest.values(), key=lambda event: (event.created_at, event.pk)):
        shown |= {place_of(box): {**box, "source": event.source} for box in event.boxes}
    return list(shown.values())


def place_of(box: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two boxes the same: place, size and finding."""
    return (box["x"], box["y"], box["width"], box["height"], box.get("finding") or "")
