"""Relabel many films in one act, after a preview of what it does.

A preview counts what a label would do to every film, by the rules of a single label, and is signed together with the
state of the films that it counts. Applying it does that and nothing else: a film whose label events have changed since
is left aside, and a new version of the criteria refuses the act as a whole.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Any

from django.core import signing
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.labels.criteria import current_criteria
from portal.labels.events import InvalidLabel, LabelChange, append, check, events_by_film, hold, new_event
from portal.labels.losses import LabelLoss, loss
from portal.labels.resolving import resolve, standing
from portal.models import (
    Exposure,
    Image,
    LabelEvent,
    LabelSource,
    NormalCriteria,
    Part,
    Site,
    SplitImage,
    User,
)
from portal.people import audit, blinding
from portal.people.access import require
from portal.people.exposure import record_exposure

MOST_FILMS = 5000
SECONDS_VALID = 3600
UNLABELLED = "unlabelled"
_SALT = "portal.labels.relabel"


class PreviewOutdated(InvalidLabel):
    """The preview does not hold any more; a new one is needed. The message is shown to the user."""


@dataclass(frozen=True)
class RelabelEffect:
    """What a label does to one film. `keeps`: the film has this value already, and findings or boxes that stay."""

    before: str  # a value, unresolved or UNLABELLED
    after: str
    gone: LabelLoss | None
    keeps: bool


@dataclass(frozen=True)
class RelabelPreview:
    change: LabelChange
    moves: Mapping[tuple[str, str], int]  # (label before, label after) -> films
    gone: Sequence[LabelLoss]  # of each film that loses something
    keeping: int  # films that keep findings or boxes
    omitted: int  # films withheld from the author
    in_test: int  # films in the test part of a split
    criteria: NormalCriteria | None  # named by the labels
    token: str  # for apply_relabel

    @property
    def films(self) -> int:
        return sum(self.moves.values())


@dataclass(frozen=True)
class RelabelOutcome:
    """Ids of the films that got the label, and of those left aside because their label events have changed since the
    preview, or because they are withheld from the author now."""

    act: uuid.UUID
    site: Site
    labelled: tuple[int, ...]
    left_aside: tuple[int, ...]


# Preview


def preview_relabel(
    *,
    images: QuerySet[Image],
    change: LabelChange,
    author: User,
    site: Site,
    among: QuerySet[Image] | None = None,
) -> RelabelPreview:
    """Return what the change would do to the films. Films withheld from the author are omitted; how many is counted
    over `among`, which must not depend on labels (by default over `images`). The author is recorded as having been
    shown the labels. Raises InvalidLabel."""
    require(author, "label films", site)
    shown = blinding.without_withheld(images, author).select_related("dataset__site").defer("facts", "header", "extra")
    films = {film.pk: film for film in shown.order_by("pk")[: MOST_FILMS + 1]}
    counted = (images if among is None else among).order_by().values("pk")
    omitted = blinding.withheld_images(author).filter(pk__in=counted).count()
    if not films:
        raise InvalidLabel(" ".join(["There is no film to relabel.", blinding.omitted(omitted)]).strip())
    if len(films) > MOST_FILMS:
        raise InvalidLabel(f"More than {MOST_FILMS:,} films match; narrow the filters and relabel them in parts.")
    change = check(images=list(films.values()), change=change, author=author, site=site)
    events = _events_of(films)
    effects = _effects(films.values(), events, change, author)
    criteria = current_criteria(site)
    in_test = SplitImage.objects.filter(image__in=films, member__part=Part.TEST).values("image").distinct().count()
    record_exposure(author, Exposure.Kind.LABEL, films)
    return RelabelPreview(
        change=change,
        moves=Counter((effect.before, effect.after) for effect in effects),
        gone=[effect.gone for effect in effects if effect.gone is not None],
        keeping=sum(effect.keeps for effect in effects),
        omitted=omitted,
        in_test=in_test,
        criteria=criteria,
        token=_signed(_states(events), change, author, site, criteria),
    )


def _events_of(films: Iterable[int]) -> dict[int, list[LabelEvent]]:
    """As `events_by_film`, in a single query."""
    events: dict[int, list[LabelEvent]] = {pk: [] for pk in films}
    for event in LabelEvent.objects.filter(image__in=events).defer("reason").order_by("created_at", "pk"):
        events[event.image_id].append(event)
    return events


def _effects(
    images: Iterable[Image], events: Mapping[int, list[LabelEvent]], change: LabelChange, author: User
) -> list[RelabelEffect]:
    now = timezone.now()
    return [_effect(image, events[image.pk], change, author, now) for image in images]


def _effect(
    image: Image, earlier: Sequence[LabelEvent], change: LabelChange, author: User, now: datetime
) -> RelabelEffect:
    event = new_event(image=image, change=change, earlier=earlier, author=author, source=LabelSource.READER)
    event.created_at = now
    before, after = resolve(earlier), resolve([*earlier, event])
    assert after is not None
    had = before.value if before else UNLABELLED
    if after.source == LabelSource.ADJUDICATION:  # it still counts, with all that it holds
        return RelabelEffect(had, after.value, None, keeps=False)
    gone = loss(standing(earlier, author), event.findings, len(event.boxes), event.attributes)
    keeps = had == change.value and bool(event.boxes or (change.findings is None and event.findings))
    return RelabelEffect(had, after.value, gone, keeps)


# The signed preview


def _states(events: Mapping[int, Sequence[LabelEvent]]) -> dict[int, int]:
    """The newest event of each film, 0 without one. A film is locked while an event is added, and events are never
    deleted, so a film with the same newest event has the same events."""
    return {image_id: max((event.pk for event in of_film), default=0) for image_id, of_film in events.items()}


def _signed(
    states: Mapping[int, int], change: LabelChange, author: User, site: Site, criteria: NormalCriteria | None
) -> str:
    ids = sorted(states)
    content = {
        "act": uuid.uuid4().hex,
        "author": author.pk,
        "site": site.pk,
        "criteria": criteria.pk if criteria else None,
        "value": change.value,
        "findings": None if change.findings is None else list(change.findings),
        "attributes": None if change.attributes is None else list(change.attributes),
        "reason": change.reason,
        "films": [later - earlier for earlier, later in pairwise([0, *ids])],  # small numbers make a short text
        "states": [states[pk] for pk in ids],
    }
    return signing.dumps(content, salt=_SALT, compress=True)


def _opened(token: str, author: User) -> dict[str, Any]:
    try:
        content: dict[str, Any] = signing.loads(token, salt=_SALT, max_age=SECONDS_VALID)
    except signing.SignatureExpired:
        raise PreviewOutdated("The preview is more than an hour old; look at it as it is now.") from None
    except signing.BadSignature:
        raise InvalidLabel("The preview did not arrive as it was sent; preview again.") from None
    if content["author"] != author.pk:
        raise InvalidLabel("The preview was made by somebody else; make your own.")
    return content


# Applying it


def apply_relabel(*, token: str, author: User) -> RelabelOutcome:
    """Write one label event for each film of the preview whose events are those of the preview. A preview that is
    applied already is not applied again. Raises PreviewOutdated or InvalidLabel."""
    content = _opened(token, author)
    act, states = uuid.UUID(content["act"]), dict(zip(accumulate(content["films"]), content["states"], strict=True))
    change = LabelChange(**{name: content[name] for name in ("value", "findings", "attributes", "reason")})
    with transaction.atomic():
        site = Site.objects.select_for_update(no_key=True).get(pk=content["site"])  # as write_criteria does
        require(author, "label films", site)
        hold(sorted(states))
        written = set(LabelEvent.objects.filter(batch=act, reverts=None).values_list("image_id", flat=True))
        if not written:
            _refuse_other_criteria(site, content["criteria"])
            written = _write(states, change, author, site, act)
    return RelabelOutcome(act, site, tuple(sorted(written)), tuple(sorted(states.keys() - written)))


def _refuse_other_criteria(site: Site, previewed: int | None) -> None:
    criteria = current_criteria(site)
    if (criteria.pk if criteria else None) != previewed:
        raise PreviewOutdated(
            f"What normal means has changed to {criteria} since the preview; look at it as it is now."
        )


def _write(states: Mapping[int, int], change: LabelChange, author: User, site: Site, act: uuid.UUID) -> set[int]:
    """Label the films whose newest event is still that of `states`, and return their ids."""
    events = events_by_film(sorted(states))
    now = _states(events)
    films = Image.objects.filter(pk__in=[pk for pk in states if states[pk] == now[pk]])
    images = list(blinding.without_withheld(films, author).select_related("dataset__site"))
    if not images:
        return set()
    change = check(images=images, change=change, author=author, site=site)
    before = Counter(effect.before for effect in _effects(images, events, change, author))
    append(
        [
            new_event(
                image=image,
                change=change,
                earlier=events[image.pk],
                author=author,
                source=LabelSource.READER,
                batch=act,
            )
            for image in images
        ]
    )
    after: dict[str, Any] = {"value": change.value, "films": len(images), "act": str(act)}
    stated = {name: list(getattr(change, name)) for name in ("findings", "attributes") if getattr(change, name)}
    aside = len(states) - len(images)
    audit.record(
        verb="relabel films",
        site=site,
        actor=author,
        before=dict(before),
        after=after | stated | ({"left aside": aside} if aside else {}),
        reason=change.reason,
    )
    return {image.pk for image in images}
