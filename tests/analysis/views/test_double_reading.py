"""The page, the table and the API of a double reading: what they show, to whom, and what looking leaves behind."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, Exposure, Image, ScreeningQueue, User
from portal.people import blinding
from tests.portal import factories
from tests.portal.double import adjudicator, begun, close, films_of, manager, read
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Any) -> Dataset:
    return factories.dataset()


@pytest.fixture
def queue(of: Dataset) -> ScreeningQueue:
    """Two films, one of them disputed; open."""
    factories.films(of, unlabelled=2)
    ann, ben = factories.curator("ann"), factories.curator("ben")
    queue = begun(of, ann, ben)
    agreed, disputed = films_of(queue)
    for person, value in ((ann, "abnormal"), (ben, "normal")):
        read(queue, agreed, person, "normal")
        read(queue, disputed, person, value, *(["a rare word"] if value == "abnormal" else []), reason="=SUM(1)")
    return queue


def addresses(queue: ScreeningQueue) -> list[str]:
    page = f"/results/double-readings/{queue.uuid}/"
    api = f"/api/v1/queues/{queue.uuid}/"
    return [page, f"{page}readings.csv", f"{api}agreement/", f"{api}readings.csv"]


def words(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_the_page_shows_agreement_and_disputed_films_and_records_the_look(queue: ScreeningQueue) -> None:
    maria = manager()
    client = as_(maria)
    assert f"/results/double-readings/{queue.uuid}/" in words(client.get(f"/queues/{queue.uuid}/"))
    page = words(client.get(addresses(queue)[0]))
    assert "Share that agrees" in page
    assert "Cohen’s kappa" in page
    assert "2 of 2 films read by all; reading is open" in page
    agreed, disputed = films_of(queue)
    assert "a rare word" in page
    assert f"/images/{disputed.uuid}/" in page
    assert f"/images/{agreed.uuid}/" not in page
    assert list(Exposure.objects.filter(person=maria).values_list("image", "kind")) == [(disputed.pk, "label")]


def test_the_files_hold_readings_and_are_recorded(queue: ScreeningQueue) -> None:
    maria = manager()
    client = as_(maria)
    _, table, agreement, by_api = addresses(queue)
    answer = client.get(table)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [(row["reader"], row["value"], row["comment"]) for row in rows][2:] == [
        ("ann", "abnormal", "'=SUM(1)"),
        ("ben", "normal", "'=SUM(1)"),
    ]
    assert "Research use only" in rows[0]["notice"]
    assert answer["Cache-Control"] == "no-store"
    assert client.get(by_api).content == answer.content
    assert client.get(agreement).json()["agreement"]["share"]["value"] == 0.5
    assert Exposure.objects.filter(person=maria, kind="label").count() == 2


def test_those_who_take_part_see_nothing_until_every_film_is_settled(queue: ScreeningQueue, of: Dataset) -> None:
    close(queue)
    ada = adjudicator(queue)
    people = [User.objects.get(username=name) for name in ("ann", "ben")]
    for person in [*people, ada, factories.curator("carl")]:
        client = as_(person)
        for address in addresses(queue):
            answer = client.get(address)
            assert answer.status_code == 403
            assert "a rare word" not in answer.content.decode()
        assert "Agreement" not in words(client.get(f"/queues/{queue.uuid}/"))
    assert not Exposure.objects.exists()


def test_strangers_and_ordinary_queues_have_no_page(queue: ScreeningQueue, of: Dataset) -> None:
    stranger = as_(factories.user("stranger", at=factories.site("Busan")))
    for address in addresses(queue):
        assert stranger.get(address).status_code == 404
        assert as_(manager()).post(address).status_code == 405
        assert Client().get(address).status_code in (302, 401, 403)


def test_films_that_wait_for_a_blinded_verdict_elsewhere_are_omitted_and_files_refused(queue: ScreeningQueue) -> None:
    maria, disputed = manager(), films_of(queue)[1]
    blinding.open_for(person=maria, images=[disputed], source=factories.somewhere(), words="the worklist W", days=1)
    client = as_(maria)
    page, table, _, by_api = addresses(queue)
    text = words(client.get(page))
    assert "1 film is omitted" in text
    assert f"/images/{disputed.uuid}/" not in text
    assert "a rare word" not in text
    assert not Exposure.objects.filter(image=disputed).exists()
    for address in (table, by_api):
        assert client.get(address).status_code == 403
    assert Image.objects.count() == 2


def test_a_queue_that_nobody_has_read_has_an_empty_page(of: Dataset) -> None:
    factories.film(of)
    queue = begun(of, factories.curator("ann"), factories.curator("ben"))
    assert "no agreement to measure" in words(as_(manager()).get(addresses(queue)[0]))
