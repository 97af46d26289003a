"""Tags on the pages: put on and taken off, in the grid, on a film's page, and managed in their list."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, Exposure, FilmTag, Image, Role, User
from portal.people.blinding import open_for
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}


@pytest.fixture
def films(of: Dataset, data_dir: Any) -> list[Image]:
    return factories.films(of, normal=1, abnormal=2)


@pytest.fixture
def boss(of: Dataset) -> Client:
    return as_(factories.user("boss", Role.MANAGER))


def tag(client: Client, films: list[Image], **fields: str) -> Any:
    data = {"tag": "for teaching", "image": [str(film.uuid) for film in films], **fields}
    return client.post(f"/datasets/{films[0].dataset.uuid}/tags/", data, headers=JSON)


def test_the_grid_gets_the_tags_of_its_films(curator: Client, films: list[Image]) -> None:
    answer = tag(curator, films[:2], shown=str(films[0].uuid)).json()
    assert (answer["films"], answer["words"]) == (2, "Tagged: 2 films “for teaching”.")
    assert answer["tags"] == {str(films[0].uuid): ["for teaching"]}
    undone = curator.post("/tags/undo/", {"act": answer["act"], "shown": str(films[0].uuid)}, headers=JSON).json()
    assert (undone["films"], undone["adds"], undone["tags"]) == (2, False, {str(films[0].uuid): []})
    again = curator.post("/tags/undo/", {"act": answer["act"]}, headers=JSON)
    assert (again.status_code, "undone before" in again.json()["error"]) == (400, True)


def test_without_chosen_films_those_of_the_filter_are_tagged(curator: Client, of: Dataset, films: list[Image]) -> None:
    url = f"/datasets/{of.uuid}/tags/?label=abnormal"
    answer = curator.post(url, {"tag": "a"}, follow=True)
    assert "Tagged: 2 films “a”." in answer.text
    assert list(curator.get(f"/datasets/{of.uuid}/?tag=a").context["films"]) == films[1:]
    assert "Taken off: “a” from 2 films." in curator.post(url, {"tag": "a", "act": "remove"}, follow=True).text


def test_bad_names_and_foreign_films_are_refused(curator: Client, stranger: Client, films: list[Image]) -> None:
    answer = tag(curator, films, tag="case 123456")
    assert (answer.status_code, "at most 4 digits" in answer.json()["error"]) == (400, True)
    assert tag(curator, films, image="nonsense").status_code == 404
    assert tag(curator, films, image=str(factories.somewhere())).status_code == 404
    assert tag(stranger, films).status_code == 404
    assert tag(as_(factories.user("ben", Role.READER)), films).status_code == 403
    assert curator.post("/tags/undo/", {"act": "x"}, headers=JSON).status_code == 400
    assert curator.post("/tags/undo/", {"act": str(factories.somewhere())}, headers=JSON).status_code == 404
    assert not FilmTag.objects.exists()


def test_a_film_is_tagged_on_its_page(curator: Client, films: list[Image]) -> None:
    url = f"/datasets/{films[0].dataset.uuid}/tags/"
    fields = {"image": str(films[0].uuid), "back": "film", "tag": "a"}
    page = curator.post(url, fields, follow=True)
    assert page.redirect_chain == [(f"/images/{films[0].uuid}/", 302)]
    assert 'aria-label="Take the tag a off"' in page.text
    page = curator.post(url, fields | {"act": "remove"}, follow=True)
    assert "Take the tag" not in page.text


def test_tags_count_as_what_others_said_of_a_film(curator: Client, reader: Client, of: Dataset, data_dir: Any) -> None:
    film = factories.film(of)
    tag(curator, [film])
    Exposure.objects.all().delete()
    reader.get(f"/datasets/{of.uuid}/")
    assert Exposure.objects.get().image == film


def test_tags_of_films_read_blinded_are_neither_shown_nor_counted(curator: Client, films: list[Image]) -> None:
    tag(curator, films[:1])
    person = User.objects.get(username="curator")
    open_for(person=person, images=films[:1], source=films[0].uuid, words="the worklist Tuesday", days=3)
    page = curator.get(f"/datasets/{films[0].dataset.uuid}/")
    assert page.context["tags"] == []
    listed = curator.get("/tags/")
    assert [count.films for count, _ in listed.context["rows"]] == [0]
    assert "left out here and not counted" in listed.text
    assert curator.get(f"/images/{films[0].uuid}/").status_code == 403
    shown = tag(curator, films[1:2], shown=[str(film.uuid) for film in films]).json()["tags"]  # type: ignore[arg-type]
    assert str(films[0].uuid) not in shown


def test_managers_rename_merge_and_delete(boss: Client, curator: Client, films: list[Image]) -> None:
    assert "has no tags yet" in curator.get("/tags/").text
    tag(curator, films[:2], tag="a")
    tag(curator, films[:1], tag="b")
    a, b = FilmTag.objects.order_by("name")
    assert "Rename" not in curator.get("/tags/").text
    assert f'?tag=a">{films[0].dataset} (2)</a>' in boss.get("/tags/").text
    assert "“a” is “c” now" in boss.post(f"/tags/{a.uuid}/rename/", {"name": "C"}, follow=True).text
    assert "merge “c” into it instead" in boss.post(f"/tags/{a.uuid}/rename/", {"name": "b"}, follow=True).text
    answer = boss.post(f"/tags/{b.uuid}/merge/", {"into": str(a.uuid)}, follow=True)
    assert "“b” is merged into “c”: 0 films got it." in answer.text
    assert boss.post(f"/tags/{a.uuid}/merge/", {"into": "x"}).status_code == 404
    assert "name two different tags" in boss.post(f"/tags/{a.uuid}/merge/", {"into": str(a.uuid)}, follow=True).text
    assert curator.post(f"/tags/{a.uuid}/delete/").status_code == 403
    assert "“c” is deleted, and off 2 films." in boss.post(f"/tags/{a.uuid}/delete/", follow=True).text


def test_a_tag_of_another_site_is_not_there(boss: Client, stranger: Client, films: list[Image]) -> None:
    tag(boss, films)
    assert stranger.post(f"/tags/{FilmTag.objects.get().uuid}/delete/").status_code == 404
    assert "for teaching" not in stranger.get("/tags/").text


def test_the_grid_takes_no_query_for_each_tag(curator: Client, of: Dataset, films: list[Image]) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    for name in ("a", "b", "c"):
        tag(curator, films, tag=name)
        curator.get(f"/datasets/{of.uuid}/")
        with CaptureQueriesContext(connection) as queries:
            curator.get(f"/datasets/{of.uuid}/")
        counts.append(len(queries))
    assert len(set(counts)) == 1
