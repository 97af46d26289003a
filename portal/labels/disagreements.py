"""Conflicts between the labels of two people.

Differing labels leave a film unresolved until an adjudication settles it. A person whose label conflicts with another
may keep both, accept the other by withdrawing their own, or, as an adjudicator, settle the film with their own.
"""

import uuid
from collections.abc import Sequence
from enum import StrEnum

from django.db import transaction

from portal.labels.events import (
    InvalidLabel,
    LabelChange,
    append,
    changed_by_others,
    check,
    events_by_film,
    hold,
    label_as_seen,
    new_event,
)
from portal.labels.resolving import SETTLED, resolve
from portal.models import Adjudication, AdjudicatorVerdict, Image, LabelEvent, LabelSource, Site, User
from portal.people import audit
from portal.people.access import may, require

DEFAULT_REASON = "Kept at a merge, with the other label in view."


class MergeChoice(StrEnum):
    MINE = "mine"
    THEIRS = "theirs"
    UNRESOLVED = "unresolved"


class ChangedAgain(Exception):
    """Another person changed the film again after the two labels were shown."""


def merge(
    *, image: Image, choice: str, change: LabelChange, seen: int, act: uuid.UUID, author: User, site: Site
) -> Adjudication | None:
    """Apply the author's choice after they saw the conflicting label. `seen` is the number of events of the film when
    both labels were shown. Returns the adjudication, if there is one. Raises InvalidLabel, and ChangedAgain if the film
    has been labelled again since."""
    if choice not in list(MergeChoice):
        raise InvalidLabel(f"The choice {choice!r} is unknown; use one of {', '.join(MergeChoice)}.")
    change = check(images=[image], change=change, author=author, site=site)
    with transaction.atomic():
        hold([image.pk])
        if changed_by_others([image.pk], {image.pk: seen}, author):
            raise ChangedAgain
        if choice == MergeChoice.THEIRS:
            _withdraw(image, author, site)
        elif choice == MergeChoice.MINE and differs(image, change, author):
            return adjudicate(image=image, change=change, author=author, site=site, act=act)
        else:
            label_as_seen(images=[image], seen={image.pk: seen}, change=change, act=act, author=author, site=site)
    return None


def differs(image: Image, change: LabelChange, author: User) -> bool:
    """Whether the change, as a further label, would leave the film unresolved or be overridden by a settled one."""
    events = list(image.label_events.exclude(author=author).order_by("created_at", "pk"))
    theirs = resolve([event for event in events if event.source != LabelSource.IMPORT])
    return theirs is not None and (theirs.value != change.value or theirs.source in SETTLED)


def adjudicate(
    *,
    image: Image,
    change: LabelChange,
    author: User,
    site: Site,
    act: uuid.UUID | None = None,
    own_verdict: AdjudicatorVerdict | None = None,
    readings: Sequence[uuid.UUID] = (),
) -> Adjudication:
    """Settle the differing labels of a film by a single event that overrides them all. Findings and boxes that the
    adjudicator does not state are those of the label that they confirm, or of the side that they take. `own_verdict` is
    what they said before they saw anything, and `readings` are those that they settle with the labels."""
    require(author, "adjudicate labels", site)
    with transaction.atomic():
        hold([image.pk])
        active = image.label_events.filter(
            source=LabelSource.READER, reverts__isnull=True, reverted_by__isnull=True
        ).order_by("pk")
        event = new_event(
            image=image,
            change=change,
            earlier=events_by_film([image.pk])[image.pk],
            author=author,
            source=LabelSource.ADJUDICATION,
            reason=change.reason or DEFAULT_REASON,
            batch=act or uuid.uuid4(),
        )
        settled = [str(address) for address in active.values_list("uuid", flat=True)]
        settled_readings = [str(address) for address in readings]
        append([event])
        adjudication = Adjudication.objects.create(
            image=image,
            settles=settled,
            settles_readings=settled_readings,
            adjudicator=author,
            verdict=change.value,
            reason=event.reason,
            label_event=event,
            own_verdict=own_verdict,
            changed_own_verdict=change.value != own_verdict.value if own_verdict else None,
        )
        audit.record(
            verb="adjudicate label",
            site=site,
            actor=author,
            target=image,
            after={
                "value": change.value,
                "findings": event.findings,
                "settles": settled,
                **({"settles readings": settled_readings} if settled_readings else {}),
            },
            reason=event.reason,
        )
    return adjudication


def _withdraw(image: Image, author: User, site: Site) -> None:
    """Revert the author's own labels of the film, so that the other label remains."""
    own = list(
        image.label_events.filter(
            author=author, source=LabelSource.READER, reverts__isnull=True, reverted_by__isnull=True
        )
    )
    if not own:
        return
    batch = uuid.uuid4()
    append([LabelEvent(image=image, author=author, source=event.source, batch=batch, reverts=event) for event in own])
    before = {"acts": [str(event.batch) for event in own]}
    audit.record(verb="take another's label", site=site, actor=author, target=image, before=before)


def may_settle(author: User, image: Image, change: LabelChange, site: Site) -> bool:
    """Whether the author may choose "keep mine": their label conflicts with no other, or they are an adjudicator."""
    return may(author, "adjudicate labels", site) or not differs(image, change, author)
