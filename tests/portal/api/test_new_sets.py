"""Datasets, splits, cohorts and queues made by API, by the rules of the pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import AuditEvent, Cohort, Dataset, Role, ScreeningQueue, Split, User
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager() -> User:
    return factories.user("manager", Role.MANAGER)


@pytest.fixture
def api(client: Client, manager: User) -> Client:
    client.force_login(manager)
    return client


@pytest.fixture
def films(manager: User) -> Dataset:
    dataset = factories.dataset("Films")
    for number in range(12):
        factories.film(dataset, "normal" if number < 9 else "abnormal", person=str(number))
    return dataset


def post(client: Client, to: str, /, *args: Any, status: int = 201, query: str = "", **data: Any) -> Any:
    answer = client.post(reverse(to, args=args) + query, data, content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json()


def test_a_dataset_is_made_and_named_once(api: Client, manager: User) -> None:
    made = post(api, "api-datasets", name="PA films", source="archive")
    assert (made["films"], made["source"]) == (0, "archive")
    assert AuditEvent.objects.get(verb="make dataset").actor == manager
    again = post(api, "api-datasets", name="PA films", status=400)
    assert "already exists" in str(again["name"])
    post(api, "api-datasets", name="", status=400)


def test_a_member_of_several_sites_names_one(api: Client, manager: User) -> None:
    other = factories.site("Busan")
    factories.Membership.objects.create(user=manager, site=other, role=Role.MANAGER)
    assert "several sites" in str(post(api, "api-datasets", name="Films", status=400))
    post(api, "api-datasets", name="Films", site=str(other.uuid))
    assert Dataset.objects.get().site == other
    stranger = factories.site("Elsewhere")
    post(api, "api-datasets", name="Films", site=str(stranger.uuid), status=404)


def test_a_split_is_drawn_with_the_defaults_of_the_form(api: Client, films: Dataset) -> None:
    made = post(api, "api-splits", name="Drawn", datasets=[str(films.uuid)], seed=3)
    split = Split.objects.get(uuid=made["uuid"])
    assert (split.origin, split.seed, split.fractions) == ("drawn", 3, made["fractions"])
    assert split.fractions == {"fit": 0.45, "tune": 0.15, "calibrate": 0.2, "test": 0.2}
    assert api.get(reverse("api-split", args=[split.uuid])).json()["counts"] == made["counts"]


def test_a_split_of_the_table_takes_its_parts(api: Client, films: Dataset) -> None:
    for number, part in enumerate(("fit", "test")):
        factories.film(films, "normal", person=f"of table {number}", csv_split=part)
    made = post(api, "api-splits", name="Table", datasets=[str(films.uuid)], origin="csv")
    assert set(made["counts"]["parts"]) >= {"fit", "test"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"fractions": {"train": 0.5}}, "There is no part 'train'"),
        ({"fractions": {"fit": 0.9, "test": 0.9}}, "1.8"),
        ({"datasets": []}, "Name datasets or cohorts of one site"),
        ({"origin": "csv"}, "No film would be in fit"),
    ],
)
def test_what_no_split_can_be_made_of_has_a_reason(
    api: Client, films: Dataset, data: dict[str, Any], sentence: str
) -> None:
    fields = {"name": "Split", "datasets": [str(films.uuid)]} | data
    assert sentence in str(post(api, "api-splits", status=400, **fields))
    assert not Split.objects.exists()


def test_a_cohort_is_frozen_with_the_filters_of_the_query(api: Client, films: Dataset) -> None:
    made = post(api, "api-freeze-cohort", films.uuid, query="?label=normal", name="normals", note="first")
    cohort = Cohort.objects.get(uuid=made["uuid"])
    assert (cohort.films, cohort.version, cohort.filters["label"]) == (9, 1, "normal")
    assert "There is no filter 'nothing'" in str(
        post(api, "api-freeze-cohort", films.uuid, query="?nothing=1", name="normals", status=400)
    )


def test_queues_of_a_dataset_and_of_a_cohort(api: Client, films: Dataset) -> None:
    made = post(api, "api-queue-dataset", films.uuid, query="?label=abnormal", name="Ill", order="imported")
    assert (made["films"], made["source"]) == (3, "Films: abnormal")
    cohort = post(api, "api-freeze-cohort", films.uuid, name="all")
    made = post(api, "api-queue-cohort", cohort["uuid"], name="All", order="random", seed=4)
    queue = ScreeningQueue.objects.get(uuid=made["uuid"])
    assert (queue.films, queue.seed, queue.source) == (12, 4, "cohort all v1")
    post(api, "api-queue-cohort", cohort["uuid"], name="All", order="by score", status=400)


def test_roles_decide(client: Client, films: Dataset) -> None:
    client.force_login(factories.user("reader", Role.READER))
    post(client, "api-datasets", name="Mine", status=403)
    post(client, "api-splits", name="Mine", datasets=[str(films.uuid)], status=403)
    post(client, "api-freeze-cohort", films.uuid, name="mine", status=403)
    post(client, "api-queue-dataset", films.uuid, name="Mine", order="imported", status=403)
