"""What a label takes away: findings, boxes and attributes of the film's earlier label that no longer count after it."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from portal.labels.events import events_by_film
from portal.labels.resolving import Kept, standing
from portal.models import LabelEvent


@dataclass(frozen=True)
class LabelLoss:
    """What no longer counts on one film."""

    findings: tuple[str, ...]
    boxes: int
    attributes: tuple[str, ...] = ()  # of a film that was normal

    def to_json(self) -> dict[str, Any]:
        return {"findings": list(self.findings), "boxes": self.boxes, "attributes": list(self.attributes)}


def loss(earlier: Kept, findings: Sequence[str], boxes: int, attributes: Sequence[str] = ()) -> LabelLoss | None:
    """Return what the earlier label holds beyond these findings, this number of boxes and these attributes; None if
    that is nothing."""
    gone = tuple(finding for finding in earlier.findings if finding not in findings)
    fewer = max(0, len(earlier.boxes) - boxes)
    no_more = tuple(attribute for attribute in earlier.attributes if attribute not in attributes)
    return LabelLoss(gone, fewer, no_more) if gone or fewer or no_more else None


def losses_of(act: uuid.UUID) -> dict[int, LabelLoss]:
    """Return what the labels of an act took away, by film id, without films that lost nothing."""
    new = {
        event.image_id: event for event in LabelEvent.objects.filter(batch=act, reverts=None).select_related("author")
    }
    lost = {}
    for image_id, events in events_by_film(list(new)).items():
        event = new[image_id]
        if event.author is None:  # an import
            continue
        before = [earlier for earlier in events if earlier.pk < event.pk]
        gone = loss(standing(before, event.author), event.findings, len(event.boxes), event.attributes)
        if gone is not None:
            lost[image_id] = gone
    return lost


def words_of(losses: Collection[LabelLoss]) -> str:
    """Return the losses of an act as a sentence for its author; blank without any."""
    if not losses:
        return ""
    if len(losses) == 1:
        (only,) = losses
        parts = [_named("finding", only.findings), f"{only.boxes} box{'es' * (only.boxes > 1)}" if only.boxes else ""]
        parts.append(_named("attribute", only.attributes))
        words = " and ".join(part for part in parts if part) + " of the earlier label"
        is_one = len(only.findings) + only.boxes + len(only.attributes) == 1
    else:
        of_films = [
            (what, sum(bool(getattr(gone, what)) for gone in losses))
            for what in ("findings", "boxes", "attributes")  # by film, since the names would fill the page
        ]
        words = " and ".join(f"{what} of {n} film{'s' * (n > 1)}" for what, n in of_films if n)
        is_one = False
    verb, pronoun = ("counts", "it") if is_one else ("count", "them")
    return f"{words[0].upper()}{words[1:]} no longer {verb}; undo brings {pronoun} back."


def _named(kind: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"the {kind}{'s' * (len(names) > 1)} {', '.join(names)}"
