"""Screening queues: films in the order in which people look at them, frozen, and each person's place in it.

A queue in the order of a detector's scores tells its reader something of the model. So it holds films of the fit part
only, and none that is in tune, calibrate or test of any split: their labels are a reference, to be given without
the model.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from portal.models import Image, Part, QueueImage, QueuePlace, ScreeningQueue, Site, Split, SplitImage, User
from portal.people import audit
from portal.people.access import require
from portal.sets.bulk_insert import insert

Order = ScreeningQueue.Order
HELD_OUT = (Part.TUNE, Part.CALIBRATE, Part.TEST)


class InvalidQueue(Exception):
    """A sentence for the user."""


@dataclass(frozen=True)
class Suspect:
    """A film of a queue by score, and the boxes to look at in it: x, y, width, height in original pixels."""

    image_id: int
    outline: Sequence[Mapping[str, float]] = field(default=())


def queue_films(
    *, site: Site, name: str, images: QuerySet[Image], author: User, source: str, order: str, seed: int = 0
) -> ScreeningQueue:
    """A queue of the films found: as imported, the unlabelled ones first, or at random by a seed. Raises
    InvalidQueue."""
    if order not in (Order.IMPORTED, Order.UNLABELLED, Order.RANDOM):
        raise InvalidQueue(f"The order {order!r} is unknown; use {Order.IMPORTED}, {Order.UNLABELLED} or random.")
    if not 0 <= seed < 2**31:
        raise InvalidQueue(f"The seed is {seed}; give a whole number from 0 to {2**31 - 1}.")
    rows = images.filter(dataset__site=site).order_by().values_list("pk", "current_label__value")
    found = dict(rows)  # a film that a filter finds twice is in once
    ids = sorted(found, key=lambda pk: (order == Order.UNLABELLED and found[pk] is not None, pk))
    if order == Order.RANDOM:
        random.Random(seed).shuffle(ids)
    queue = ScreeningQueue(order=order, seed=seed if order == Order.RANDOM else None)
    return _write(queue, [Suspect(pk) for pk in ids], site=site, name=name, author=author, source=source)


def queue_suspects(
    *, site: Site, name: str, suspects: Sequence[Suspect], split: Split, author: User, source: str
) -> ScreeningQueue:
    """A queue of films of the split's fit part, most suspect first. Films that are in tune, calibrate or test of any
    split are left out, as are films of other parts. Raises InvalidQueue."""
    if split.site_id != site.pk:
        raise InvalidQueue("The split is another site's; use one of this site.")
    may_be_shown = _only_in_fit(split)
    kept = [suspect for suspect in suspects if suspect.image_id in may_be_shown]
    if not kept:
        raise InvalidQueue("No film is left: a queue by score holds films that are in fit, and held out nowhere.")
    queue = ScreeningQueue(order=Order.SCORE, split=split)
    return _write(queue, kept, site=site, name=name, author=author, source=source, left=len(suspects) - len(kept))


def _only_in_fit(split: Split) -> set[int]:
    fit = SplitImage.objects.filter(member__split=split, member__part=Part.FIT)
    held_out = SplitImage.objects.filter(member__split__site=split.site_id, member__part__in=HELD_OUT)
    return set(fit.values_list("image_id", flat=True)) - set(held_out.values_list("image_id", flat=True))


def _write(
    queue: ScreeningQueue,
    suspects: Sequence[Suspect],
    *,
    site: Site,
    name: str,
    author: User,
    source: str,
    left: int = 0,
) -> ScreeningQueue:
    require(author, "make queues", site)
    name = " ".join(name.split())
    if not name or len(name) > 100 or "\0" in name:
        raise InvalidQueue("The queue needs a name of 1 to 100 characters, such as 'unlabelled, May'; give it one.")
    if not suspects:
        raise InvalidQueue("No film is under these filters; a queue holds at least one.")
    queue.site, queue.name, queue.source = site, name, source[:300]
    queue.films, queue.created_by = len(suspects), author
    with transaction.atomic():
        queue.save(force_insert=True)
        rows = [
            (queue.pk, one.image_id, position, [dict(box) for box in one.outline])
            for position, one in enumerate(suspects, start=1)
        ]
        insert(QueueImage, ("queue_id", "image_id", "position", "outline"), rows)
        after = {"films": queue.films, "order": queue.order, "seed": queue.seed, "left out": left}
        audit.record(verb="make queue", site=site, actor=author, target=queue, after=after)
    return queue


# Where a person stopped


def place_of(queue: ScreeningQueue, person: User) -> int:
    """The position to go on with: 1 before the first film."""
    place = QueuePlace.objects.filter(queue=queue, user=person).values_list("position", flat=True).first()
    return min(place or 1, queue.films)


def go_to(*, queue: ScreeningQueue, person: User, position: int) -> int:
    """Note where the person goes on when they come back. Past either end is the end."""
    position = max(1, min(position, queue.films))
    QueuePlace.objects.update_or_create(queue=queue, user=person, defaults={"position": position})
    return position


def films_of(queue: ScreeningQueue) -> QuerySet[QueueImage]:
    """The members that may be shown: where the order is by score, a film that a later split holds out is none."""
    members = queue.members.select_related("image__current_label", "queue").order_by("position")
    if queue.order != Order.SCORE:
        return members
    held_out = SplitImage.objects.filter(
        member__split__site=queue.site_id, member__part__in=HELD_OUT, image=OuterRef("image")
    )
    return members.exclude(Exists(held_out))


def films_from(queue: ScreeningQueue, *, position: int, count: int) -> QuerySet[QueueImage]:
    """The members at `count` positions from one on."""
    return films_of(queue).filter(position__gte=position, position__lt=position + count)


def is_member(queue: ScreeningQueue, image_ids: Sequence[int]) -> bool:
    return queue.members.filter(image__in=image_ids).count() == len(set(image_ids))
