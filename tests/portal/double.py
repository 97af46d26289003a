"""What the tests of double reading do: make one, begin it, read films in it, close it, adjudicate it."""

from __future__ import annotations

import uuid
from typing import Any

from portal.labels.events import LabelChange
from portal.models import Dataset, Image, Role, ScreeningQueue, User
from portal.sets import adjudicating, consensus, double_reading
from portal.sets.screening_queues import queue_films
from tests.portal import factories


def make(of: Dataset, *readers: User, author: User | None = None) -> ScreeningQueue:
    return queue_films(
        site=of.site, name="Pairs", images=of.images.all(), author=author or readers[0], source="all", order="imported",
        readers=readers,
    )  # fmt: skip


def films_of(queue: ScreeningQueue) -> list[Image]:
    members = queue.members.select_related("image__dataset__site").order_by("position")
    return [member.image for member in members]


def read(queue: ScreeningQueue, film: Image, reader: User, value: str, *findings: str, **change: Any) -> uuid.UUID:
    act = uuid.uuid4()
    stated = LabelChange(value=value, findings=findings, **change)
    double_reading.read_blinded(queue=queue, images=[film], change=stated, act=act, reader=reader)
    return act


def begun(of: Dataset, *readers: User) -> ScreeningQueue:
    queue = make(of, *readers)
    for reader in readers:
        double_reading.begin(queue=queue, person=reader)
    return queue


def read_all(queue: ScreeningQueue, values: dict[str, list[str]]) -> None:
    """The values that each reader, by name, gives the films in the queue's order."""
    for name, of_reader in values.items():
        reader = User.objects.get(username=name)
        for film, value in zip(films_of(queue), of_reader, strict=False):
            read(queue, film, reader, value)


def manager(name: str = "maria") -> User:
    return User.objects.filter(username=name).first() or factories.user(name, Role.MANAGER)


def close(queue: ScreeningQueue) -> consensus.Closing:
    return consensus.close(queue=queue, person=manager())


def adjudicator(queue: ScreeningQueue, name: str = "ada") -> User:
    """A named adjudicator, who has begun."""
    ada = User.objects.filter(username=name).first() or factories.user(name, Role.ADJUDICATOR)
    adjudicating.name_adjudicator(queue=queue, adjudicator=ada, author=manager())
    adjudicating.begin_adjudication(queue=queue, person=ada)
    return ada
