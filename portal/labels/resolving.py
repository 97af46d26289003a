"""The label that follows from the events of a film, and what a further label keeps of it. Reads events, writes nothing.

The label of a film is the adjudicated label or the consensus of a double reading, whichever is later; without one, the
label on which its readers agree; without one, the imported label. Readers who differ make it unresolved, and so do
those of a published dataset whose readings were imported. An author's later event replaces their earlier one, an
imported label without a reader those before it, and a reverted event does not count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal.models import CurrentLabel, LabelEvent, LabelSource, User

SETTLED = frozenset({LabelSource.ADJUDICATION, LabelSource.CONSENSUS})  # they override the labels of single readers
_RANKS = (SETTLED, frozenset({LabelSource.READER}), frozenset({LabelSource.IMPORT}))


@dataclass(frozen=True)
class Label:
    value: str  # a LabelValue, or CurrentLabel.UNRESOLVED
    findings: tuple[str, ...]
    source: str  # the LabelSource of the label; blank when unresolved
    attributes: tuple[str, ...] = ()  # of a normal film
    criteria_id: int | None = None  # the criteria of normal that the label was given under
    origin: str = ""  # a LabelOrigin


def resolve(events: Sequence[LabelEvent]) -> Label | None:
    """Return the label that follows from the `events` of one film, oldest first; None if all of them are reverted."""
    latest = counted_events(events)
    if not latest:
        return None
    if differ(latest):
        return Label(CurrentLabel.UNRESOLVED, (), "")
    event = latest[-1]
    return Label(
        event.value,
        _findings_of_all(latest) if event.reader else tuple(event.findings),
        event.source,
        attributes=tuple(event.attributes),
        criteria_id=event.criteria_id,
        origin=event.origin,
    )


def counted_events(events: Sequence[LabelEvent]) -> list[LabelEvent]:
    """The events of a film that count, oldest first: each author's latest of the sources that count. Its label follows
    from them."""
    reverted = {event.reverts_id for event in events if event.reverts_id}
    active = [event for event in events if event.value and event.pk not in reverted]
    for sources in _RANKS:
        by_author: dict[tuple[int | None, str], LabelEvent] = {}
        for event in active:
            if event.source in sources:
                if event.source == LabelSource.IMPORT and not event.reader:
                    by_author.clear()
                by_author[event.author_id, event.reader] = event
        if by_author:
            return sorted(by_author.values(), key=lambda event: (event.created_at, event.pk))
    return []


def differ(latest: Sequence[LabelEvent]) -> bool:
    """Whether readers differ; of two settled labels, the later one counts."""
    by_readers = latest[0].source == LabelSource.READER or any(event.reader for event in latest)
    return by_readers and len({event.value for event in latest}) > 1


def _findings_of_all(latest: Sequence[LabelEvent]) -> tuple[str, ...]:
    """What the readers of a published dataset found together: none of them saw the others' findings."""
    return tuple(dict.fromkeys(finding for event in latest for finding in event.findings))


@dataclass(frozen=True)
class Kept:
    """What a label holds besides its value."""

    value: str = ""
    findings: tuple[str, ...] = ()
    boxes: tuple[Mapping[str, Any], ...] = ()
    attributes: tuple[str, ...] = ()


def standing(events: Sequence[LabelEvent], author: User) -> Kept:
    """Return the label of a film as its `author` changes or confirms it: the label that counts, or, where readers
    differ, the author's own. If it names no findings or has no boxes, and the author's own label has the same value,
    those of the own label are taken; attributes are those of the label that counts."""
    latest = counted_events(events)
    if not latest:
        return Kept()
    own = [event for event in latest if event.author_id == author.pk]
    if differ(latest):
        return _together(own)
    return _together([latest[-1], *(event for event in own if event.value == latest[-1].value)])


def carried(events: Sequence[LabelEvent], value: str, author: User) -> Kept:
    """Return what a label with this value, by this author, takes from the film's label where it states neither findings
    nor boxes. Nothing if it changes the value; a reader who joins one side of a disagreement takes what that side
    holds."""
    earlier = standing(events, author)
    if earlier.value == value:
        return earlier
    latest = counted_events(events)
    agreeing = [event for event in latest if event.value == value] if latest and differ(latest) else []
    return _together(agreeing[-1:])


def _together(events: Sequence[LabelEvent]) -> Kept:
    if not events:
        return Kept()
    return Kept(
        value=events[0].value,
        findings=next((tuple(event.findings) for event in events if event.findings), ()),
        boxes=next((tuple(event.boxes) for event in events if event.boxes), ()),
        attributes=tuple(events[0].attributes),
    )
