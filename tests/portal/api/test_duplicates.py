"""Pairs of films that may be the same, by API."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.models import Dataset, FilmPair, Role
from portal.people.blinding import open_for
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def pairs(of: Dataset) -> list[FilmPair]:
    films = [factories.film(of, person=f"person {n}") for n in range(4)]
    return [factories.pair(films[0], films[1]), factories.pair(films[2], films[3], correlation=0.7)]


@pytest.fixture
def curator(client: Client) -> Client:
    client.force_login(factories.curator())
    return client


def test_pairs_are_listed_by_verdict_and_dataset(curator: Client, pairs: list[FilmPair]) -> None:
    results = curator.get("/api/v1/film-pairs/").json()["results"]
    assert [row["uuid"] for row in results] == [str(pair.uuid) for pair in pairs]
    assert {key: results[0][key] for key in ("first", "second", "one_patient", "verdict", "judged_by")} == {
        "first": str(pairs[0].first.uuid),
        "second": str(pairs[0].second.uuid),
        "one_patient": False,
        "verdict": "",
        "judged_by": None,
    }
    assert results[1]["correlation"] == 0.7
    assert curator.get("/api/v1/film-pairs/?verdict=same").json()["results"] == []
    other = factories.dataset("More")
    assert curator.get(f"/api/v1/film-pairs/?dataset={other.uuid}").json()["results"] == []
    answer = curator.get("/api/v1/film-pairs/?verdict=maybe")
    assert (answer.status_code, "expected unjudged, same, different" in str(answer.json())) == (400, True)


def test_a_pair_is_judged_and_corrected(curator: Client, pairs: list[FilmPair]) -> None:
    address = f"/api/v1/film-pairs/{pairs[0].uuid}/judge/"
    answer = curator.post(address, {"verdict": "same"})
    assert (answer.status_code, answer.json()["verdict"], answer.json()["judged_by"]) == (200, "same", "curator")
    late = curator.post(address, {"verdict": "different"})
    assert (late.status_code, "Somebody judged this pair same" in str(late.json())) == (400, True)
    assert curator.post(address, {"verdict": "different", "seen": "same"}).json()["verdict"] == "different"
    assert curator.post(address, {"verdict": "maybe"}).status_code == 400


def test_who_may_judge(client: Client, pairs: list[FilmPair], of: Dataset) -> None:
    address = f"/api/v1/film-pairs/{pairs[0].uuid}/judge/"
    client.force_login(factories.user("reader", Role.READER, at=of.site))
    assert client.post(address, {"verdict": "same"}).status_code == 403
    client.force_login(factories.user("stranger"))
    assert client.post(address, {"verdict": "same"}).status_code == 404
    assert client.get("/api/v1/film-pairs/").json()["results"] == []


def test_pairs_of_a_film_that_is_read_blinded_are_left_out(client: Client, pairs: list[FilmPair], of: Dataset) -> None:
    ann = factories.curator("ann")
    client.force_login(ann)
    open_for(person=ann, images=[pairs[0].first], source=of.uuid, words="the worklist X", days=9)
    answer = client.get("/api/v1/film-pairs/").json()
    assert [row["uuid"] for row in answer["results"]] == [str(pairs[1].uuid)]
    assert "are left out here and not counted" in answer["omitted"]
    assert client.post(f"/api/v1/film-pairs/{pairs[0].uuid}/judge/", {"verdict": "same"}).status_code == 403
