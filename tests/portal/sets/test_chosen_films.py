"""Films chosen one by one as a queue or a cohort: by page and API, with permissions, sites and blindness."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from portal.models import Cohort, Dataset, Image, Membership, QueueImage, Role, ScreeningQueue, User
from portal.people import blinding
from portal.sets import chosen_films
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def kim(data_dir: Any) -> User:
    return factories.curator("kim")


@pytest.fixture
def films(kim: User) -> list[Image]:
    of = factories.dataset("Films")
    return [factories.film(of, label) for label in ("normal", "abnormal", "")]


def post(client: Client, name: str, films: list[Image], **fields: str) -> Any:
    named = {"films": ", ".join(str(film.uuid) for film in films), "name": "Odd ones", **fields}
    return client.post(reverse(f"portal:{name}"), named)


def test_chosen_films_become_a_queue(client: Client, kim: User, films: list[Image]) -> None:
    client.force_login(kim)
    answer = post(client, "queue-chosen", films[:2], order="imported", source="the map M\0")
    queue = ScreeningQueue.objects.get()
    assert answer.url == reverse("portal:queue", args=[queue.uuid])
    assert list(QueueImage.objects.order_by("position").values_list("image", flat=True)) == [
        film.pk for film in films[:2]
    ]
    assert queue.source == "2 films chosen on the map M"


def test_chosen_films_become_a_cohort_with_their_labels(client: Client, kim: User, films: list[Image]) -> None:
    client.force_login(kim)
    post(client, "freeze-chosen", films[1:], note="why")
    cohort = Cohort.objects.get()
    assert (cohort.films, cohort.counts, cohort.note) == (2, {"abnormal": 1, "unlabelled": 1}, "why")
    assert cohort.filters == {"chosen": "2 films chosen"}


@pytest.mark.parametrize("name", ["queue-chosen", "freeze-chosen"])
def test_a_choice_is_refused_with_a_sentence(
    client: Client, kim: User, films: list[Image], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(kim)
    assert "0 films are chosen" in post(client, name, []).content.decode()
    wrong = client.post(reverse(f"portal:{name}"), {"films": "no-uuid", "name": "x"})
    assert (wrong.status_code, "identifier of a film is invalid" in wrong.content.decode()) == (400, True)
    assert client.post(reverse(f"portal:{name}"), {"films": str(uuid4()), "name": "x"}).status_code == 404
    monkeypatch.setattr(chosen_films, "MOST_CHOSEN", 2)
    assert "3 films are chosen: choose 1 to 2" in post(client, name, films).content.decode()
    assert not ScreeningQueue.objects.exists() and not Cohort.objects.exists()


@pytest.mark.parametrize("name", ["queue-chosen", "freeze-chosen"])
def test_films_of_other_sites_are_not_chosen(client: Client, kim: User, films: list[Image], name: str) -> None:
    busan = factories.site("Busan")
    foreign = factories.film(Dataset.objects.create(site=busan, name="Films"))
    client.force_login(kim)
    assert post(client, name, [films[0], foreign]).status_code == 404
    Membership.objects.create(user=kim, site=busan, role=Role.CURATOR)
    assert "several sites" in post(client, name, [films[0], foreign]).content.decode()


@pytest.mark.parametrize("name", ["queue-chosen", "freeze-chosen"])
def test_a_choice_needs_the_right_and_no_film_to_be_read_blinded(
    client: Client, kim: User, films: list[Image], name: str
) -> None:
    client.force_login(factories.user("reader", Role.READER))
    assert post(client, name, films).status_code == 403
    source = factories.somewhere()
    blinding.open_for(person=kim, images=films[:1], source=source, words="a list", days=1)
    client.force_login(kim)
    refused = post(client, name, films)
    assert (refused.status_code, "read blinded" in refused.content.decode()) == (403, True)
    assert post(client, name, films[1:]).status_code == 302


def test_a_wrong_seed_or_order_is_refused(client: Client, kim: User, films: list[Image]) -> None:
    client.force_login(kim)
    assert "The seed is &#x27;-1&#x27;" in post(client, "queue-chosen", films, seed="-1").content.decode()
    assert "The order" in post(client, "queue-chosen", films, order="score").content.decode()


def test_the_api_makes_the_same(kim: User, films: list[Image]) -> None:
    api = APIClient()
    api.force_authenticate(kim)
    body = {"name": "Odd ones", "order": "imported", "images": [str(film.uuid) for film in films]}
    assert api.post(reverse("api-queue-chosen"), body, format="json").status_code == 201
    assert api.post(reverse("api-freeze-chosen"), body, format="json").json()["films"] == 3
    refused = api.post(reverse("api-freeze-chosen"), body | {"images": []}, format="json")
    assert refused.json()["detail"].startswith("0 films are chosen")
    refused = api.post(reverse("api-queue-chosen"), body | {"name": " . " * 60}, format="json")
    assert refused.status_code == 400
