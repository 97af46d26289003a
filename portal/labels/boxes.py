"""Boxes of labels, {"x", "y", "width", "height", "finding"} in original pixels."""

from collections.abc import Iterable
from typing import Any

from portal.models import LabelEvent


def boxes_shown(events: Iterable[LabelEvent]) -> list[dict[str, Any]]:
    """Return the boxes of each author's latest event that is not reverted, with its source. `events` are those of one
    film, oldest first. A box that a label kept from an earlier one is shown once, as that of the later label."""
    events = list(events)
    reverted = {event.reverts_id for event in events if event.reverts_id}
    latest = {event.author_id: event for event in events if not event.reverts_id and event.pk not in reverted}
    shown: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in sorted(latest.values(), key=lambda event: (event.created_at, event.pk)):
        for box in event.boxes:
            shown[tuple(box.get(name) for name in ("x", "y", "width", "height", "finding"))] = {
                **box,
                "source": event.source,
            }
    return list(shown.values())
