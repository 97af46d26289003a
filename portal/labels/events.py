"""Labels: append events, work out the current one, take back an act.

The label of a film is the adjudicated one, else what its readers agree on, else the imported one. Readers who
differ make it unresolved. An author's later event replaces their earlier one; a reverted event counts for nothing.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.models import CurrentLabel, Image, LabelEvent, LabelSource, LabelValue, ScreeningQueue, Site, User
from portal.people import audit
from portal.people.access import require

BAD_QUALITY = "bad quality"  # a finding that every site has
CHUNK = 500  # rows a query may name; SQLite allows 999 parameters on old builds
NAMED = 3  # films that an act is told by


class InvalidLabel(Exception):
    """A sentence for the user."""


@dataclass(frozen=True)
class Label:
    value: str  # a LabelValue, or CurrentLabel.UNRESOLVED
    findings: tuple[str, ...]
    source: str  # the LabelSource it stands on; blank when unresolved


def resolve(events: Sequence[LabelEvent]) -> Label | None:
    """The label that `events` of one film, oldest first, amount to; None when none is left standing."""
    reverted = {event.reverts_id for event in events if event.reverts_id}
    standing = [event for event in events if event.value and event.pk not in reverted]
    for source in (LabelSource.ADJUDICATION, LabelSource.READER, LabelSource.IMPORT):
        by_author = {event.author_id: event for event in standing if event.source == source}
        if not by_author:
            continue
        latest = max(by_author.values(), key=lambda event: (event.created_at, event.pk))
        if source == LabelSource.READER and len({event.value for event in by_author.values()}) > 1:
            return Label(CurrentLabel.UNRESOLVED, (), "")
        return Label(latest.value, tuple(latest.findings), source)
    return None


def labels_at(image_ids: Iterable[int], cutoff: datetime) -> dict[int, Label]:
    """Image id -> its label as it stood at `cutoff`. A film without a label is not in the answer."""
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
    """The label that somebody wants films to have."""

    value: str
    findings: Sequence[str] = ()
    reason: str = ""


@dataclass(frozen=True)
class Labelled:
    """What an act came to: film ids that it labelled, and those that somebody else had changed meanwhile."""

    act: uuid.UUID
    labelled: tuple[int, ...]
    changed: tuple[int, ...]


def label_as_seen(
    *,
    images: Sequence[Image],
    seen: Mapping[int, int],
    wish: LabelChange,
    act: uuid.UUID,
    author: User,
    site: Site,
    queue: ScreeningQueue | None = None,
) -> Labelled:
    """Label films as the author saw them: `seen` is, by film id, how many events the film had then. A film that
    somebody else changed since stays as it is and is named. An act that is already kept is not written again: whoever
    sent it twice did not hear the first answer."""
    check(images=images, wish=wish, author=author, site=site)
    ids = sorted({image.pk for image in images})
    with transaction.atomic():
        hold(ids)
        kept = dict(LabelEvent.objects.filter(batch=act, reverts__isnull=True).values_list("image_id", "author_id"))
        if kept:
            if set(kept.values()) != {author.pk} or not kept.keys() <= set(ids):
                raise InvalidLabel("This act is not yours, or was of other films; load the page again.")
            return Labelled(act, tuple(sorted(kept)), tuple(sorted(set(ids) - kept.keys())))
        changed = changed_by_others(ids, seen, author)
        unchanged = [image for image in images if image.pk not in changed]
        if unchanged:
            _write(unchanged, wish, author, site, act, queue=queue, left=len(changed))
    return Labelled(act, tuple(sorted({image.pk for image in unchanged})), tuple(sorted(changed)))


def changed_by_others(ids: Sequence[int], seen: Mapping[int, int], author: User) -> set[int]:
    """The films with an event of another person beyond those that the author saw."""
    authors: dict[int, list[int | None]] = defaultdict(list)
    for start in range(0, len(ids), CHUNK):
        events = LabelEvent.objects.filter(image_id__in=ids[start : start + CHUNK]).order_by("pk")
        for image_id, author_id in events.values_list("image_id", "author_id"):
            authors[image_id].append(author_id)
    return {
        image_id
        for image_id, of_film in authors.items()
        if any(one not in (None, author.pk) for one in of_film[seen.get(image_id, 0) :])
    }


def check(*, images: Sequence[Image], wish: LabelChange, author: User, site: Site) -> None:
    """Whether the author may give this label to these films. Raises InvalidLabel with a sentence."""
    require(author, "label films", site)
    if wish.value not in LabelValue.values:
        raise InvalidLabel(f"The label {wish.value!r} is unknown; use one of {', '.join(LabelValue.values)}.")
    unusable = [finding for finding in wish.findings if not finding.strip() or "|" in finding]
    if unusable:
        raise InvalidLabel(f"The finding {unusable[0]!r} is blank or holds a '|'; name each finding by itself.")
    if any("\0" in text for text in (wish.reason, *wish.findings)):  # PostgreSQL keeps none in text
        raise InvalidLabel("The reason or a finding holds a NUL character; write it without.")
    unknown = [finding for finding in wish.findings if site.findings and finding not in [*site.findings, BAD_QUALITY]]
    if unknown:
        raise InvalidLabel(
            f"{unknown[0]!r} is not among the findings of {site.name}; use one of {', '.join(site.findings)}, "
            "or ask a manager to add it."
        )
    strangers = [image for image in images if image.dataset.site_id != site.pk]
    if strangers:
        raise InvalidLabel("A film of another site is among them; label the films of one site at a time.")


def _write(
    images: Sequence[Image],
    wish: LabelChange,
    author: User,
    site: Site,
    act: uuid.UUID,
    *,
    queue: ScreeningQueue | None = None,
    left: int = 0,
) -> None:
    append(
        [
            LabelEvent(
                image=image,
                value=wish.value,
                findings=list(wish.findings),
                author=author,
                source=LabelSource.READER,
                reason=wish.reason,
                batch=act,
                queue=queue,
            )
            for image in images
        ]
    )
    after = {"value": wish.value, "findings": list(wish.findings), "films": len(images), "act": str(act)}
    audit.record(
        verb="label films",
        site=site,
        actor=author,
        after=after | ({"left to others": left} if left else {}),
        reason=wish.reason,
    )


def undo(*, act: uuid.UUID, author: User, site: Site) -> int:
    """Revert what is left of an act, by its own author only. Returns how many films changed."""
    require(author, "label films", site)
    with transaction.atomic():
        of_act = Image.objects.filter(label_events__batch=act, dataset__site=site)
        hold(sorted(set(of_act.values_list("pk", flat=True))))  # two requests to undo one act take turns
        events = list(
            LabelEvent.objects.filter(
                batch=act, author=author, image__dataset__site=site, reverts__isnull=True, reverted_by__isnull=True
            ).select_related("image")
        )
        if not events:
            raise InvalidLabel("There is nothing to undo: the act is not yours, or it was undone before.")
        taken_back = uuid.uuid4()
        append(
            [
                LabelEvent(image=event.image, author=author, source=event.source, batch=taken_back, reverts=event)
                for event in events
            ]
        )
        after = {"films": len(events)}
        audit.record(verb="undo labels", site=site, actor=author, before={"act": str(act)}, after=after)
    return len(events)


@dataclass(frozen=True)
class LabelAct:
    """What still stands of one act: enough for its author to know it again before it is undone."""

    uuid: uuid.UUID
    value: str
    films: int
    names: tuple[str, ...]  # of the first few
    made_at: datetime


def last_act(*, author: User, site: Site, image: Image | None = None) -> LabelAct | None:
    """The author's latest act at the site that still stands; with `image`, the latest that touched this film."""
    standing = LabelEvent.objects.filter(
        author=author,
        image__dataset__site=site,
        source=LabelSource.READER,
        reverts__isnull=True,
        reverted_by__isnull=True,
    )
    touching = standing.filter(image=image) if image else standing
    latest = touching.order_by("-created_at", "-pk").first()
    if latest is None:
        return None
    of_act = standing.filter(batch=latest.batch)
    return LabelAct(
        uuid=latest.batch,
        value=latest.value,
        films=of_act.count(),
        names=tuple(str(event.image) for event in of_act.select_related("image").order_by("image_id")[:NAMED]),
        made_at=latest.created_at,
    )


def append(events: Sequence[LabelEvent]) -> None:
    """Write the events and bring the current labels of their films up to date. Call inside a transaction."""
    datasets = hold(sorted({event.image_id for event in events}))
    LabelEvent.objects.bulk_create(events, batch_size=CHUNK)
    _refresh_current(datasets)


def hold(image_ids: Sequence[int]) -> dict[int, int]:
    """Film id -> dataset id. Hold the films until the transaction ends, so that two people who label one film take
    turns. In the order of keys, so that they never wait for each other; without a word to foreign keys; SQLite has one
    writer anyway.

    The table is held first, always: events are dated on the way to the database, a split's cut-off waits for whoever
    holds the table, and an event dated earlier could fall behind a cut-off that did not see it.
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
            update_fields=["value", "findings", "finding_words", "source", "updated_at"],
        )


def _row(image_id: int, dataset_id: int, label: Label, now: datetime) -> CurrentLabel:
    return CurrentLabel(
        image_id=image_id,
        dataset_id=dataset_id,
        value=label.value,
        findings=list(label.findings),
        finding_words="|" + "|".join(label.findings) + "|" if label.findings else "",
        source=label.source,
        updated_at=now,
    )
