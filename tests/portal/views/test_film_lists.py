"""The films of the grid as a CSV, from the page and by API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, User
from portal.people.blinding import open_for
from tests.portal import factories

pytestmark = pytest.mark.django_db


def text(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


def images(answer: Any) -> list[str]:
    return [line.split(",")[0] for line in text(answer).splitlines()[1:]]


def test_the_chosen_films_or_those_of_the_filter(reader: Client, of: Dataset, data_dir: Any) -> None:
    normal, abnormal, last = factories.films(of, normal=1, abnormal=2)
    url = f"/datasets/{of.uuid}/films.csv"
    answer = reader.post(f"{url}?label=abnormal&sort=-imported")
    assert answer["Content-Disposition"] == f'attachment; filename="hilum-dataset-{of.uuid}-films.csv"'
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert images(answer) == [str(last.uuid), str(abnormal.uuid)]
    assert images(reader.post(url, {"image": str(normal.uuid)})) == [str(normal.uuid)]
    by_api = reader.get(f"/api/v1{url}", {"label": "abnormal", "sort": "-imported"})
    assert images(by_api) == [str(last.uuid), str(abnormal.uuid)]


def test_what_is_asked_wrongly_is_refused(reader: Client, stranger: Client, of: Dataset) -> None:
    url = f"/datasets/{of.uuid}/films.csv"
    assert reader.get(url).status_code == 405
    assert stranger.post(url).status_code == 404
    refused = reader.get(f"/api/v1{url}", {"sort": "mood"})
    assert (refused.status_code, "There is no order 'mood'" in refused.text) == (400, True)
    assert "The filter label is 'x'" in reader.get(f"/api/v1{url}", {"label": "x"}).text


def test_who_reads_a_film_blinded_gets_no_list(reader: Client, of: Dataset, data_dir: Any) -> None:
    film, other = factories.films(of, normal=2)
    person = User.objects.get(username="reader")
    open_for(person=person, images=[film], source=film.uuid, words="the worklist Tuesday", days=3)
    answer = reader.post(f"/datasets/{of.uuid}/films.csv", {"image": str(other.uuid)})
    assert (answer.status_code, "blinded" in answer.text) == (403, True)
