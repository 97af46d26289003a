"""Two people on one film: what becomes of a label that met another one.

Readings that differ leave a film unresolved, and only an adjudication ends that. So whoever met another's label may
let both stand, take theirs by taking back their own, or, as an adjudicator, settle the film by their own.
"""

import uuid
from enum import StrEnum

from django.db import transaction

from portal.labels.events import (
    InvalidLabel,
    LabelChange,
    append,
    changed_by_others,
    check,
    hold,
    label_as_seen,
    resolve,
)
from portal.models import Adjudication, Image, LabelEvent, LabelSource, Site, User
from portal.people import audit
from portal.people.access import may, require

DEFAULT_REASON = "Kept at a merge, with the other label in view."


class MergeChoice(StrEnum):
    MINE = "mine"
    THEIRS = "theirs"
    UNRESOLVED = "unresolved"


class ChangedAgain(Exception):
    """Somebody else changed the film once more, after the two labels were shown."""


def merge(
    *, image: Image, choice: str, wish: LabelChange, seen: int, act: uuid.UUID, author: User, site: Site
) -> Adjudication | None:
    """Do with the author's label what they chose once they saw the other's. `seen` is how many events the film had
    when both were shown. Raises InvalidLabel, and ChangedAgain where there is yet another label to look at."""
    if choice not in list(MergeChoice):
        raise InvalidLabel(f"The choice {choice!r} is unknown; use one of {', '.join(MergeChoice)}.")
    check(images=[image], wish=wish, author=author, site=site)
    with transaction.atomic():
        hold([image.pk])
        if changed_by_others([image.pk], {image.pk: seen}, author):
            raise ChangedAgain
        if choice == MergeChoice.THEIRS:
            _withdraw(image, author, site)
        elif choice == MergeChoice.MINE and differs(image, wish, author):
            return adjudicate(image=image, wish=wish, author=author, site=site, act=act)
        else:
            label_as_seen(images=[image], seen={image.pk: seen}, wish=wish, act=act, author=author, site=site)
    return None


def differs(image: Image, wish: LabelChange, author: User) -> bool:
    """Whether the wish, as one more reading, would leave the film unresolved, or be outweighed by an adjudication."""
    events = list(image.label_events.exclude(author=author).order_by("created_at", "pk"))
    theirs = resolve([event for event in events if event.source != LabelSource.IMPORT])
    return theirs is not None and (theirs.value != wish.value or theirs.source == LabelSource.ADJUDICATION)


def adjudicate(
    *, image: Image, wish: LabelChange, author: User, site: Site, act: uuid.UUID | None = None
) -> Adjudication:
    """Settle the readings of a film by one event, which outweighs them all."""
    require(author, "adjudicate labels", site)
    with transaction.atomic():
        hold([image.pk])
        standing = image.label_events.filter(
            source=LabelSource.READER, reverts__isnull=True, reverted_by__isnull=True
        ).order_by("pk")
        event = LabelEvent(
            image=image,
            value=wish.value,
            findings=list(wish.findings),
            author=author,
            source=LabelSource.ADJUDICATION,
            reason=wish.reason or DEFAULT_REASON,
            batch=act or uuid.uuid4(),
        )
        settled = [str(address) for address in standing.values_list("uuid", flat=True)]
        append([event])
        adjudication = Adjudication.objects.create(
            image=image,
            settles=settled,
            adjudicator=author,
            verdict=wish.value,
            reason=event.reason,
            label_event=event,
        )
        audit.record(
            verb="adjudicate label",
            site=site,
            actor=author,
            target=image,
            after={"value": wish.value, "findings": list(wish.findings), "settles": settled},
            reason=event.reason,
        )
    return adjudication


def _withdraw(image: Image, author: User, site: Site) -> None:
    """Take back what stands of the author's own readings of the film: the other label is left alone."""
    own = list(
        image.label_events.filter(
            author=author, source=LabelSource.READER, reverts__isnull=True, reverted_by__isnull=True
        )
    )
    if not own:
        return
    batch = uuid.uuid4()
    append([LabelEvent(image=image, author=author, source=one.source, batch=batch, reverts=one) for one in own])
    before = {"acts": [str(one.batch) for one in own]}
    audit.record(verb="take another's label", site=site, actor=author, target=image, before=before)


def may_settle(author: User, image: Image, wish: LabelChange, site: Site) -> bool:
    """Whether "keep mine" is open to the author: their label differs from nobody's, or they adjudicate."""
    return may(author, "adjudicate labels", site) or not differs(image, wish, author)
