"""Screening queues: films in a frozen order for screening, and each person's place in the queue.

A queue ordered by a detector's scores reveals something about the scores. It therefore contains only films of the fit
part, and none that is in tune, calibrate or test of any split: labels of those serve as reference and must be chosen
without the model.
"""

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from portal.models import (
    DoubleReading,
    Image,
    Part,
    QueueImage,
    QueuePlace,
    QueueReader,
    ScreeningQueue,
    Site,
    Split,
    SplitImage,
    User,
)
from portal.people import audit
from portal.people.access import people_who_may, require
from portal.people.blinding import withheld_patients, without_withheld
from portal.sets.bulk_insert import insert

Order = ScreeningQueue.Order
HELD_OUT = (Part.TUNE, Part.CALIBRATE, Part.TEST)


class InvalidQueue(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class Suspect:
    """A film for a queue by score, and the boxes to look at: x, y, width, height in original pixels."""

    image_id: int
    outline: Sequence[Mapping[str, float]] = field(default=())


def queue_films(
    *,
    site: Site,
    name: str,
    images: QuerySet[Image],
    author: User,
    source: str,
    order: str,
    seed: int = 0,
    readers: Sequence[User] = (),
) -> ScreeningQueue:
    """Create a queue of the films: as imported, unlabelled first, or at random with a seed. With `readers`, each of
    them reads every film without seeing what the others say (portal.sets.double_reading). Raises InvalidQueue."""
    if order not in (Order.IMPORTED, Order.UNLABELLED, Order.RANDOM):
        raise InvalidQueue(
            f"The order {order!r} is unknown; use {Order.IMPORTED}, {Order.UNLABELLED} or {Order.RANDOM}."
        )
    if not 0 <= seed < 2**31:
        raise InvalidQueue(f"The seed is {seed}; expected a whole number from 0 to {2**31 - 1}.")
    rows = images.filter(dataset__site=site).order_by().values_list("pk", "current_label__value")
    labels = dict(rows)  # a film that a filter returns twice appears once
    ids = sorted(labels, key=lambda pk: (order == Order.UNLABELLED and labels[pk] is not None, pk))
    if order == Order.RANDOM:
        random.Random(seed).shuffle(ids)
    if readers:
        _check_readers(readers, site)
        if order == Order.UNLABELLED:
            raise InvalidQueue(
                "Unlabelled first would show the readers which films have a label; use as imported or random."
            )
    queue = ScreeningQueue(order=order, seed=seed if order == Order.RANDOM else None, blinded=bool(readers))
    with transaction.atomic():
        queue = _write(queue, [Suspect(pk) for pk in ids], site=site, name=name, author=author, source=source)
        if readers:
            DoubleReading.objects.create(queue=queue)
            QueueReader.objects.bulk_create([QueueReader(queue=queue, user=reader) for reader in readers])
            after = {"readers": [str(reader.uuid) for reader in readers]}
            audit.record(verb="ask for double reading", site=site, actor=author, target=queue, after=after)
    return queue


def _check_readers(readers: Sequence[User], site: Site) -> None:
    if len({reader.pk for reader in readers}) != len(readers) or len(readers) < 2:
        raise InvalidQueue("Double reading needs two or more different people; choose at least two, or none.")
    allowed = set(people_who_may("label films", site).values_list("pk", flat=True))
    for reader in readers:
        if reader.pk not in allowed:
            raise InvalidQueue(f"{reader.username} may not label films at {site.name}; choose somebody who may.")


def queue_suspects(
    *, site: Site, name: str, suspects: Sequence[Suspect], split: Split, author: User, source: str
) -> ScreeningQueue:
    """Create a queue of films of the split's fit part, most suspect first. Films of other parts, and films in tune,
    calibrate or test of any split, are left out. Raises InvalidQueue."""
    if split.site_id != site.pk:
        raise InvalidQueue("The split belongs to another site; use a split of this site.")
    may_be_shown = _only_in_fit(split)
    kept = [suspect for suspect in suspects if suspect.image_id in may_be_shown]
    if not kept:
        raise InvalidQueue(
            "No film remains: a queue by score contains only films that are in fit and not held out by any split."
        )
    queue = ScreeningQueue(order=Order.SCORE, split=split)
    return _write(queue, kept, site=site, name=name, author=author, source=source, left_out=len(suspects) - len(kept))


def _only_in_fit(split: Split) -> set[int]:
    fit = SplitImage.objects.filter(member__split=split, member__part=Part.FIT)
    held_out = SplitImage.objects.filter(member__split__site=split.site_id, member__part__in=HELD_OUT)
    pixels = set(held_out.values_list("image__pixel_sha256", flat=True))  # of the films and of their copies
    return {pk for pk, of_film in fit.values_list("image_id", "image__pixel_sha256") if of_film not in pixels}


def _write(
    queue: ScreeningQueue,
    suspects: Sequence[Suspect],
    *,
    site: Site,
    name: str,
    author: User,
    source: str,
    left_out: int = 0,
) -> ScreeningQueue:
    require(author, "make queues", site)
    name = " ".join(name.split())
    if not name or len(name) > 100 or "\0" in name:
        raise InvalidQueue("The queue needs a name of 1 to 100 characters, such as 'unlabelled, May'.")
    if not suspects:
        raise InvalidQueue("No film matches the filters; a queue needs at least one film.")
    queue.site, queue.name, queue.source = site, name, source[:300]
    queue.films, queue.created_by = len(suspects), author
    with transaction.atomic():
        queue.save(force_insert=True)
        rows = [
            (queue.pk, suspect.image_id, position, [dict(box) for box in suspect.outline])
            for position, suspect in enumerate(suspects, start=1)
        ]
        insert(QueueImage, ("queue_id", "image_id", "position", "outline"), rows)
        after = {"films": queue.films, "order": queue.order, "seed": queue.seed, "left out": left_out}
        audit.record(verb="make queue", site=site, actor=author, target=queue, after=after)
    return queue


# Where a person stopped


def place_of(queue: ScreeningQueue, person: User) -> int:
    """Return the position where the person continues: 1 at the start."""
    place = QueuePlace.objects.filter(queue=queue, user=person).values_list("position", flat=True).first()
    return min(place or 1, queue.films)


def go_to(*, queue: ScreeningQueue, person: User, position: int) -> int:
    """Store the position where the person continues, limited to the queue's positions, and return it."""
    position = max(1, min(position, queue.films))
    QueuePlace.objects.update_or_create(queue=queue, user=person, defaults={"position": position})
    return position


def films_of(queue: ScreeningQueue, person: User) -> QuerySet[QueueImage]:
    """Return the members that may be shown to the person: none that they have yet to read blinded, unless it is in
    this very queue, and, in an order by score, none of which a later split holds out a copy."""
    members = queue.members.select_related("image__current_label", "queue").order_by("position")
    if not queue.blinded or queue.pk not in read_by([queue], person):
        members = without_withheld(members, person, film="image")
    if queue.order != Order.SCORE:
        return members
    held_out = SplitImage.objects.filter(
        member__split__site=queue.site_id,
        member__part__in=HELD_OUT,
        image__pixel_sha256=OuterRef("image__pixel_sha256"),
    )
    return members.exclude(Exists(held_out))


def read_by(queues: Sequence[ScreeningQueue], person: User) -> set[int]:
    """The ids of the blinded queues that the person reads. Nothing is said of their films in them but their own
    readings, so that no film is left out."""
    blinded = [queue.pk for queue in queues if queue.blinded]
    if not blinded:
        return set()
    return set(QueueReader.objects.filter(queue__in=blinded, user=person).values_list("queue_id", flat=True))


def films_from(queue: ScreeningQueue, person: User, *, start: int, stop: int) -> QuerySet[QueueImage]:
    """Return the members at the positions from `start` to before `stop`."""
    return films_of(queue, person).filter(position__gte=start, position__lt=stop)


@dataclass(frozen=True)
class Numbering:
    """Numbers the films of a queue for a person as if those that they have yet to read blinded were not in it: a gap
    would tell that such a film is in the queue, and in an order by score how normal it is. `withheld` are the positions
    of these films, ascending."""

    withheld: Sequence[int]
    films: int  # in the queue

    @property
    def total(self) -> int:
        return self.films - len(self.withheld)

    def number_at(self, position: int) -> int:
        """The number of the film at a position, or that of the next film if it is withheld."""
        return max(1, min(position - bisect_left(self.withheld, position), self.total))

    def position_of(self, number: int) -> int:
        """The position of the film with a number."""
        for withheld in self.withheld:
            if withheld > number:
                break
            number += 1
        return number


def numberings(queues: Sequence[ScreeningQueue], person: User) -> dict[int, Numbering]:
    """The numbering of each queue, by its id."""
    patients = withheld_patients(person)
    positions: dict[int, list[int]] = {queue.pk: [] for queue in queues}
    if patients:
        others = positions.keys() - read_by(queues, person)
        members = QueueImage.objects.filter(queue__in=others, image__patient_id__in=patients).order_by("position")
        for queue_id, position in members.values_list("queue", "position"):
            positions[queue_id].append(position)
    return {queue.pk: Numbering(positions[queue.pk], queue.films) for queue in queues}


def numbering(queue: ScreeningQueue, person: User) -> Numbering:
    return numberings([queue], person)[queue.pk]


def is_member(queue: ScreeningQueue, image_ids: Sequence[int]) -> bool:
    return queue.members.filter(image__in=image_ids).count() == len(set(image_ids))
