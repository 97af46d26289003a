"""The pages of films that may show text, and the same acts by API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from portal.intake import text_looks
from portal.intake.text_looks import look_for_text
from portal.models import Dataset, Image, Role, TextDecision
from portal.people.blinding import open_for
from tests.pages import one_line
from tests.portal import factories
from tests.portal.texted import film_with_text

pytestmark = [pytest.mark.django_db]
BOX = {"x": 30, "y": 55, "width": 270, "height": 40}


@pytest.fixture
def of(data_dir: Path) -> Dataset:
    return factories.dataset()


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    made = [film_with_text(of, seed=seed) for seed in (1, 2)]
    look_for_text(of)
    return made


@pytest.fixture
def curator(of: Dataset) -> Client:
    return logged_in(Role.CURATOR)


def logged_in(role: Role) -> Client:
    client = Client()
    client.force_login(factories.user(role.value, role))
    return client


def sent(film: Image, verdict: str, *boxes: dict[str, int]) -> dict[str, Any]:
    return {"verdict": verdict, "boxes": json.dumps(boxes), "pixels": film.pixel_sha256, "events": "0"}


def test_the_list_shows_what_waits_and_what_was_decided(of: Dataset, films: list[Image], curator: Client) -> None:
    address = f"/datasets/{of.uuid}/text/"
    page = one_line(curator.get(address))
    assert "2 of 2 films looked at" in page
    assert all(f"/images/{film.uuid}/text/" in page for film in films)
    curator.post(f"/images/{films[0].uuid}/text/", sent(films[0], "no text"))
    assert f"/images/{films[0].uuid}/text/" not in one_line(curator.get(address))
    decided = one_line(curator.get(f"{address}?show=decided"))
    assert f"/images/{films[0].uuid}/text/" in decided
    assert "No text" in decided
    assert address in one_line(curator.get(f"/datasets/{of.uuid}/"))


def test_without_films_to_decide_the_list_says_what_to_do(of: Dataset, curator: Client) -> None:
    assert "No film waits" in one_line(curator.get(f"/datasets/{of.uuid}/text/"))
    factories.film(of)
    assert "Look at the 1 that were not looked at yet" in one_line(curator.get(f"/datasets/{of.uuid}/text/"))


def test_the_search_is_begun_from_the_page(of: Dataset, curator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.film(of)
    monkeypatch.setattr(text_looks, "publish_search", lambda dataset: None)
    page = one_line(curator.post(f"/datasets/{of.uuid}/text/search/", follow=True))
    assert "Hilum looks at 1 film in the background" in page
    look_for_text(of)
    assert "All films were looked at" in one_line(curator.post(f"/datasets/{of.uuid}/text/search/", follow=True))


def test_a_decision_leads_to_the_next_film_and_then_to_the_list(films: list[Image], curator: Client) -> None:
    first = curator.post(f"/images/{films[0].uuid}/text/", sent(films[0], "blacked out", BOX))
    assert first["Location"] == f"/images/{films[1].uuid}/text/"
    films[0].refresh_from_db()
    assert films[0].pixel_sha256 == TextDecision.objects.get().pixels_after
    last = curator.post(f"/images/{films[1].uuid}/text/", sent(films[1], "excluded"), follow=True)
    assert "No film is left to look at" in one_line(last)
    assert films[1].label_events.latest("pk").value == "exclude"
    page = one_line(curator.get(f"/images/{films[0].uuid}/"))
    assert "Blacked out by curator" in page


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"verdict": "maybe"}, "The verdict is &#x27;maybe&#x27;; expected no text, blacked out, excluded."),
        ({"verdict": "blacked out", "boxes": "[]"}, "There is no box"),
        ({"verdict": "blacked out", "boxes": "{"}, "There is no box"),
        ({"pixels": "0"}, "The film has other pixels than you saw"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(
    films: list[Image], curator: Client, change: dict[str, str], sentence: str
) -> None:
    response = curator.post(f"/images/{films[0].uuid}/text/", sent(films[0], "no text") | change)
    assert response.status_code == 400
    assert sentence in one_line(response)
    assert not TextDecision.objects.exists()


def test_only_curators_and_managers_may(of: Dataset, films: list[Image]) -> None:
    reader, stranger = logged_in(Role.READER), Client()
    stranger.force_login(factories.user("stranger", *Role, at=factories.site("Busan")))
    for address in (f"/datasets/{of.uuid}/text/", f"/images/{films[0].uuid}/text/"):
        assert reader.get(address).status_code == 403
        assert stranger.get(address).status_code == 404
        assert stranger.get(f"/api/v1{address}").status_code in (404, 405)
    assert reader.get(f"/api/v1/datasets/{of.uuid}/text/").status_code == 403


def test_films_that_the_person_reads_blinded_are_left_out(of: Dataset, films: list[Image], curator: Client) -> None:
    person = factories.User.objects.get(username="curator")
    open_for(person=person, images=films[:1], source=films[0].uuid, words="a worklist", days=1)
    page = one_line(curator.get(f"/datasets/{of.uuid}/text/"))
    assert "1 film is omitted" in page
    assert str(films[0].uuid) not in page
    assert curator.get(f"/images/{films[0].uuid}/text/").status_code == 403
    listed = curator.get(f"/api/v1/datasets/{of.uuid}/text/").json()
    assert [film["uuid"] for film in listed["results"]] == [str(films[1].uuid)]
    assert "omitted" in listed["omitted"]


def test_the_api_lists_and_decides(of: Dataset, films: list[Image], curator: Client) -> None:
    listed = curator.get(f"/api/v1/datasets/{of.uuid}/text/").json()["results"][0]
    assert listed["lines"][0]["characters"] >= 5
    body = {"verdict": "blacked out", "boxes": [BOX], "pixels": listed["pixels"]}
    done = curator.post(f"/api/v1/images/{listed['uuid']}/text/", body, content_type="application/json").json()
    assert (done[0]["boxes"], done[0]["author"]) == ([BOX], "curator")
    refused = curator.post(f"/api/v1/images/{listed['uuid']}/text/", body, content_type="application/json")
    assert refused.status_code == 400
    assert "other pixels than you saw" in refused.json()["detail"]
