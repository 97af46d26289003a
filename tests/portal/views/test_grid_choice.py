"""A queue, a cohort and a split of the films that were ticked in the grid."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Cohort, Dataset, Image, ScreeningQueue
from portal.sets.cohorts import images_of
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def films(of: Dataset, data_dir: Any) -> list[Image]:
    return factories.films(of, normal=2, abnormal=2)


def chosen(films: list[Image]) -> dict[str, Any]:
    return {"name": "Mine", "image": [str(film.uuid) for film in films]}


def test_a_queue_of_chosen_films(curator: Client, of: Dataset, films: list[Image]) -> None:
    curator.post(f"/datasets/{of.uuid}/queue/?label=normal", {**chosen(films[1:3]), "order": "imported"})
    queue = ScreeningQueue.objects.get()
    assert (queue.films, queue.source) == (2, "Normals: 2 chosen films")
    assert list(queue.members.order_by("position").values_list("image", flat=True)) == [film.pk for film in films[1:3]]


def test_a_cohort_of_chosen_films_and_then_a_split(curator: Client, of: Dataset, films: list[Image]) -> None:
    url = f"/datasets/{of.uuid}/freeze/"
    curator.post(url, chosen(films[:1]))
    cohort = Cohort.objects.get()
    assert list(images_of(cohort)) == films[:1]
    assert cohort.filters == {"dataset": "Normals", "chosen": "1 chosen film"}
    answer = curator.post(url, {**chosen(films[:3]), "then": "split"})
    newest = Cohort.objects.get(version=2)
    assert answer["Location"] == f"/splits/new/?cohort={newest.uuid}"
    assert newest.films == 3


def test_films_of_elsewhere_are_refused(curator: Client, of: Dataset, films: list[Image]) -> None:
    other = factories.film(factories.dataset("Other"))
    for images in (["x"], [str(other.uuid)], [str(films[0].uuid), str(other.uuid)]):
        assert curator.post(f"/datasets/{of.uuid}/freeze/", {"name": "A", "image": images}).status_code == 404
    assert not Cohort.objects.exists()
