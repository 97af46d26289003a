"""What people were shown of films, as recorded and as asked when they read."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from portal.models import Dataset, Exposure, Role, User
from portal.people.exposure import has_seen_label, has_seen_model, record_exposure
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
RUN = uuid.UUID(int=5)


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def reader() -> User:
    return factories.user("reader", Role.READER)


@pytest.mark.both
def test_a_day_keeps_one_record_for_each_film_kind_and_run(of: Dataset, reader: User) -> None:
    first, second = factories.film(of), factories.film(of)
    for _ in range(2):
        record_exposure(reader, Exposure.Kind.SCORE, [first.pk, second.pk, first.pk], run=RUN)
    record_exposure(reader, Exposure.Kind.SCORE, [first.pk], run=uuid.UUID(int=6))
    record_exposure(reader, Exposure.Kind.LABEL, [first.pk])
    assert Exposure.objects.count() == 4


def test_many_films_take_few_statements(of: Dataset, reader: User, django_assert_max_num_queries: Any) -> None:
    films = [factories.film(of).pk for _ in range(30)]
    with django_assert_max_num_queries(1):
        record_exposure(reader, Exposure.Kind.MAP, films, run=RUN)


@pytest.mark.parametrize("kind", ["score", "map"])
def test_a_score_or_map_is_never_forgotten(of: Dataset, reader: User, kind: str) -> None:
    film, other = factories.film(of), factories.film(of)
    long_ago = datetime.now(UTC).date() - timedelta(days=4000)
    Exposure.objects.create(person=reader, image=film, kind=kind, run=RUN, day=long_ago)
    assert has_seen_model(reader, film)
    assert not has_seen_model(reader, other)
    assert not has_seen_model(factories.user("second", Role.READER), film)
    assert not has_seen_label(reader, film)


@pytest.mark.parametrize(("days", "seen"), [(0, True), (28, True), (29, False)])
def test_a_label_counts_within_the_washout(of: Dataset, reader: User, days: int, seen: bool) -> None:
    film = factories.film(of)
    Exposure.objects.create(
        person=reader, image=film, kind="label", day=datetime.now(UTC).date() - timedelta(days=days)
    )
    assert has_seen_label(reader, film) is seen
    assert has_seen_label(reader, film, washout_days=days)
    assert not has_seen_model(reader, film)


@pytest.mark.both
def test_the_record_is_append_only(of: Dataset, reader: User) -> None:
    record_exposure(reader, Exposure.Kind.LABEL, [factories.film(of).pk])
    with pytest.raises(DatabaseError), transaction.atomic():
        Exposure.objects.update(kind="map")
