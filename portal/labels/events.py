"""Labels: append events, keep the current label of each film, undo an act.

A label that leaves the value as it is keeps the findings and boxes that it does not state (portal.labels.resolving).
With another value they no longer count, and portal.labels.losses says which.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from portal.labels.boxes import InvalidBox, checked_boxes
from portal.labels.resolving import Label, carried, resolve
from portal.models import (
    CurrentLabel,
    Image,
    LabelEvent,
    LabelSource,
    LabelValue,
    NormalAttribute,
    NormalCriteria,
    ScreeningQueue,
    Site,
    User,
)
from portal.people import audit
from portal.people.access import require

BAD_QUALITY = "bad quality"  # a finding that every site has
CHUNK = 500  # rows in a query; old builds of SQLite allow 999 parameters
NAMED = 3  # films named in the description of an act


class InvalidLabel(Exception):
    """The message is shown to the user."""


def labels_at(image_ids: Iterable[int], cutoff: datetime) -> dict[int, Label]:
    """Return labels as of `cutoff` by image id, without films that had no label."""
    return _labels(list(image_ids), LabelEvent.objects.filter(created_at__lte=cutoff))


def _labels(ids: list[int], counted: QuerySet[LabelEvent]) -> dict[int, Label]:
    events: dict[int, list[LabelEvent]] = defaultdict(list)
    for start in range(0, len(ids), CHUNK):
        of_chunk = counted.filter(image_id__in=ids[start : start + CHUNK]).defer("boxes", "reason")
        for event in of_chunk.order_by("created_at", "pk"):
            events[event.image_id].append(event)
    resolved = {image_id: resolve(of_film) for image_id, of_film in events.items()}
    return {image_id: label for image_id, label in resolved.items() if label is not None}


@dataclass(frozen=True, kw_only=True)
class LabelChange:
    """The label to give to films. Findings, boxes or attributes that are None are not stated: those of the film's label
    are kept if its value is the same. An empty list states that there are none."""

    value: str
    findings: Sequence[str] | None = None
    boxes: Sequence[Mapping[str, Any]] | None = None  # in original pixels, of a single film
    attributes: Sequence[str] | None = None  # of NormalAttribute
    reason: str = ""


@dataclass(frozen=True)
class Labelled:
    """The outcome of an act: ids of the labelled films, and of those that another person had changed meanwhile."""

    act: uuid.UUID
    labelled: tuple[int, ...]
    changed: tuple[int, ...]


def label_as_seen(
    *,
    images: Sequence[Image],
    seen: Mapping[int, int],
    change: LabelChange,
    act: uuid.UUID,
    author: User,
    site: Site,
    queue: ScreeningQueue | None = None,
) -> Labelled:
    """Label the films that nobody else has changed since the author saw them. `seen` is the number of events of each
    film at that time, by film id. Films changed by others stay as they are and are returned in `changed`. An act that
    is already stored is not written again, since a client that missed the response sends it twice. Raises
    InvalidLabel."""
    change = check(images=images, change=change, author=author, site=site)
    ids = sorted({image.pk for image in images})
    with transaction.atomic():
        hold(ids)
        kept = dict(LabelEvent.objects.filter(batch=act, reverts__isnull=True).values_list("image_id", "author_id"))
        if kept:
            if set(kept.values()) != {author.pk} or not kept.keys() <= set(ids):
                raise InvalidLabel("This act belongs to another person or to other films; reload the page.")
            return Labelled(act, tuple(sorted(kept)), tuple(sorted(set(ids) - kept.keys())))
        changed = changed_by_others(ids, seen, author)
        unchanged = [image for image in images if image.pk not in changed]
        if unchanged:
            _write(unchanged, change, author, site, act, queue=queue, skipped=len(changed))
    return Labelled(act, tuple(sorted({image.pk for image in unchanged})), tuple(sorted(changed)))


def changed_by_others(ids: Sequence[int], seen: Mapping[int, int], author: User) -> set[int]:
    """Return the films with events of other people that are newer than those that the author saw."""
    authors: dict[int, list[int | None]] = defaultdict(list)
    for start in range(0, len(ids), CHUNK):
        events = LabelEvent.objects.filter(image_id__in=ids[start : start + CHUNK]).order_by("pk")
        for image_id, author_id in events.values_list("image_id", "author_id"):
            authors[image_id].append(author_id)
    return {
        image_id
        for image_id, of_film in authors.items()
        if any(author_id not in (None, author.pk) for author_id in of_film[seen.get(image_id, 0) :])
    }


def check(
    *, images: Sequence[Image], change: LabelChange, author: User, site: Site, own: Set[str] | None = None
) -> LabelChange:
    """Return the change with its boxes as they are stored. Raises InvalidLabel or PermissionDenied unless the author
    may give this label to these films. A film may keep a finding that it has and that is not in the site's list; to a
    blinded author, who must not learn which those are, these are the author's `own`."""
    require(author, "label films", site)
    if change.value not in LabelValue.values:
        raise InvalidLabel(f"The label {change.value!r} is unknown; use one of {', '.join(LabelValue.values)}.")
    findings = change.findings or ()
    unusable = [finding for finding in findings if not finding.strip() or "|" in finding]
    if unusable:
        raise InvalidLabel(f"The finding {unusable[0]!r} is blank or contains '|'; enter each finding separately.")
    if any("\0" in text for text in (change.reason, *findings)):  # PostgreSQL does not store NUL in text
        raise InvalidLabel("The reason or a finding contains a NUL character; remove it.")
    unknown = [finding for finding in findings if site.findings and finding not in [*site.findings, BAD_QUALITY]]
    new = sorted(set(unknown) - (_findings_of_all(images) if own is None else own)) if unknown else []
    if new:
        raise InvalidLabel(
            f"{new[0]!r} is not among the findings of {site.name}; use one of {', '.join(site.findings)}, "
            "or ask a manager to add it."
        )
    _check_attributes(change)
    strangers = [image for image in images if image.dataset.site_id != site.pk]
    if strangers:
        raise InvalidLabel("A film belongs to another site; label the films of one site at a time.")
    if not change.boxes:
        return change
    if len(images) != 1:
        raise InvalidLabel(f"Boxes belong to one film, and {len(images)} are selected; send them film by film.")
    try:
        return replace(change, boxes=checked_boxes(change.boxes, images[0]))
    except InvalidBox as error:
        raise InvalidLabel(str(error)) from error


def _findings_of_all(images: Sequence[Image]) -> set[str]:
    """The findings that the current label of every one of the films has."""
    ids = [image.pk for image in images]
    held: list[set[str]] = []
    for start in range(0, len(ids), CHUNK):
        labels = CurrentLabel.objects.filter(image_id__in=ids[start : start + CHUNK])
        held += [set(findings) for findings in labels.values_list("findings", flat=True)]
    return set.intersection(*held) if held and len(held) == len(set(ids)) else set()


def _check_attributes(change: LabelChange) -> None:
    unknown = [attribute for attribute in change.attributes or () if attribute not in NormalAttribute.values]
    if unknown:
        raise InvalidLabel(f"The attribute {unknown[0]!r} is unknown; use one of {', '.join(NormalAttribute.values)}.")
    if change.attributes and change.value != LabelValue.NORMAL:
        raise InvalidLabel(
            f"{change.attributes[0]!r} is an attribute of normal films; label the film normal, or leave it out."
        )


def _write(
    images: Sequence[Image],
    change: LabelChange,
    author: User,
    site: Site,
    act: uuid.UUID,
    *,
    queue: ScreeningQueue | None = None,
    skipped: int = 0,
) -> None:
    events = events_by_film([image.pk for image in images])
    append(
        [
            new_event(
                image=image,
                change=change,
                earlier=events[image.pk],
                author=author,
                source=LabelSource.READER,
                batch=act,
                queue=queue,
            )
            for image in images
        ]
    )
    after: dict[str, Any] = {"value": change.value, "films": len(images), "act": str(act)}
    named = {"findings": change.findings, "attributes": change.attributes}
    stated = {name: list(values) for name, values in named.items() if values is not None}
    audit.record(
        verb="label films",
        site=site,
        actor=author,
        after=after | stated | ({"left to others": skipped} if skipped else {}),
        reason=change.reason,
    )


def new_event(
    *, image: Image, change: LabelChange, earlier: Sequence[LabelEvent], author: User, source: str, **fields: Any
) -> LabelEvent:
    """Return the event of a change, with the findings, attributes and boxes that it takes from the `earlier` events of
    the film."""
    kept = carried(earlier, change.value, author)
    attributes = kept.attributes if change.attributes is None else change.attributes
    return LabelEvent(
        image=image,
        value=change.value,
        findings=list(kept.findings if change.findings is None else change.findings),
        attributes=[value for value in NormalAttribute.values if value in attributes],
        boxes=[dict(box) for box in (kept.boxes if change.boxes is None else change.boxes)],
        author=author,
        source=source,
        **{"reason": change.reason, **fields},
    )


def events_by_film(ids: Sequence[int]) -> dict[int, list[LabelEvent]]:
    """Return all events of each film, oldest first; a film without events has an empty list."""
    events: dict[int, list[LabelEvent]] = {image_id: [] for image_id in ids}
    for start in range(0, len(ids), CHUNK):
        of_chunk = LabelEvent.objects.filter(image_id__in=ids[start : start + CHUNK]).defer("reason")
        for event in of_chunk.order_by("created_at", "pk"):
            events[event.image_id].append(event)
    return events


def undo(*, act: uuid.UUID, author: User, site: Site) -> int:
    """Revert the events of an act that are not reverted yet. Only its author may do so. Returns the number of films."""
    require(author, "label films", site)
    with transaction.atomic():
        of_act = Image.objects.filter(label_events__batch=act, dataset__site=site)
        hold(sorted(set(of_act.values_list("pk", flat=True))))  # serialises two requests to undo the same act
        events = list(
            LabelEvent.objects.filter(
                batch=act, author=author, image__dataset__site=site, reverts__isnull=True, reverted_by__isnull=True
            ).select_related("image")
        )
        if not events:
            raise InvalidLabel("There is nothing to undo: the act is not yours, or it was already undone.")
        undo_act = uuid.uuid4()
        append(
            [
                LabelEvent(image=event.image, author=author, source=event.source, batch=undo_act, reverts=event)
                for event in events
            ]
        )
        after = {"films": len(events)}
        audit.record(verb="undo labels", site=site, actor=author, before={"act": str(act)}, after=after)
    return len(events)


@dataclass(frozen=True)
class LabelAct:
    """The events of an act that are not reverted, described so that its author recognises it before undoing it."""

    uuid: uuid.UUID
    value: str
    films: int
    names: tuple[str, ...]  # of the first few
    made_at: datetime


def last_act(*, author: User, site: Site, image: Image | None = None) -> LabelAct | None:
    """Return the author's latest act at the site that is not reverted; with `image`, the latest on this film."""
    active = LabelEvent.objects.filter(
        author=author,
        image__dataset__site=site,
        source=LabelSource.READER,
        reverts__isnull=True,
        reverted_by__isnull=True,
    )
    touching = active.filter(image=image) if image else active
    latest = touching.order_by("-created_at", "-pk").first()
    if latest is None:
        return None
    of_act = active.filter(batch=latest.batch)
    return LabelAct(
        uuid=latest.batch,
        value=latest.value,
        films=of_act.count(),
        names=tuple(str(event.image) for event in of_act.select_related("image").order_by("image_id")[:NAMED]),
        made_at=latest.created_at,
    )


def append(events: Sequence[LabelEvent]) -> None:
    """Write the events and update the current labels of their films. Call inside a transaction."""
    datasets = hold(sorted({event.image_id for event in events}))
    _date(events)
    _name_criteria(events, datasets)
    LabelEvent.objects.bulk_create(events, batch_size=CHUNK)
    _refresh_current(datasets)


def _date(events: Sequence[LabelEvent]) -> None:
    """Date the events now, and after all earlier events of their films. Otherwise a reader's newest label would be
    taken for an older one, and not count, after the clock of the server was set back. The films are held."""
    latest: dict[int, datetime] = {}
    ids = sorted({event.image_id for event in events})
    for start in range(0, len(ids), CHUNK):
        of_chunk = LabelEvent.objects.filter(image_id__in=ids[start : start + CHUNK]).order_by()
        latest |= dict(of_chunk.values_list("image_id").annotate(Max("created_at")))
    for event in events:
        now, before = timezone.now(), latest.get(event.image_id)
        event.created_at = now if before is None or before < now else before + timedelta(microseconds=1)
        latest[event.image_id] = event.created_at


def _name_criteria(events: Sequence[LabelEvent], datasets: Mapping[int, int]) -> None:
    """Let the labels of readers and adjudicators name the criteria that are in force at their site."""
    given = [event for event in events if event.value and event.source != LabelSource.IMPORT]
    if not given:
        return
    of_datasets = NormalCriteria.objects.filter(site__datasets__in=set(datasets.values())).order_by("version")
    latest = dict(of_datasets.values_list("site__datasets", "pk"))  # a later version replaces an earlier one
    for event in given:
        event.criteria_id = latest.get(datasets[event.image_id])


def hold(image_ids: Sequence[int]) -> dict[int, int]:
    """Lock the films until the transaction ends, so that people who label the same film take turns. Returns dataset ids
    by film id. Rows are locked in the order of their keys, which prevents deadlocks, and with NO KEY UPDATE, which does
    not block rows that refer to a film. SQLite has a single writer anyway.

    The table is always locked first. Events get their time before they reach the database, and the cut-off of a split
    waits for transactions that hold this lock. Without it, an event could be dated before a cut-off that did not
    include it.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE portal_labelevent IN ROW EXCLUSIVE MODE")
    datasets: dict[int, int] = {}
    for start in range(0, len(image_ids), CHUNK):
        chunk = Image.objects.filter(pk__in=image_ids[start : start + CHUNK])
        datasets |= dict(chunk.select_for_update(no_key=True).order_by("pk").values_list("pk", "dataset_id"))
    return datasets


def _refresh_current(datasets: Mapping[int, int]) -> None:
    now, image_ids = timezone.now(), list(datasets)
    for start in range(0, len(image_ids), CHUNK):
        chunk = image_ids[start : start + CHUNK]
        labels = _labels(chunk, LabelEvent.objects.all())
        CurrentLabel.objects.filter(image_id__in=set(chunk) - set(labels)).delete()
        CurrentLabel.objects.bulk_create(
            [_row(image_id, datasets[image_id], label, now) for image_id, label in labels.items()],
            update_conflicts=True,
            unique_fields=["image"],
            update_fields=[
                *("value", "findings", "finding_words", "attributes", "attribute_words"),
                *("criteria", "source", "origin", "updated_at"),
            ],
        )


def _row(image_id: int, dataset_id: int, label: Label, now: datetime) -> CurrentLabel:
    return CurrentLabel(
        image_id=image_id,
        dataset_id=dataset_id,
        value=label.value,
        findings=list(label.findings),
        finding_words=_words(label.findings),
        attributes=list(label.attributes),
        attribute_words=_words(label.attributes),
        criteria_id=label.criteria_id,
        source=label.source,
        origin=label.origin,
        updated_at=now,
    )


def _words(names: Sequence[str]) -> str:
    return "|" + "|".join(names) + "|" if names else ""
