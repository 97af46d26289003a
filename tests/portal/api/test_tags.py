"""Tags by API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, FilmTag, Image, Role
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def films(data_dir: Any) -> list[Image]:
    return factories.films(factories.dataset(), normal=1, abnormal=2)


@pytest.fixture
def boss(films: list[Image]) -> Client:
    return with_token(factories.user("boss", Role.MANAGER))


def post(client: Client, address: str, **data: Any) -> Any:
    return client.post(f"/api/v1/tags/{address}", data, content_type="application/json")


def listed(client: Client) -> list[tuple[str, int]]:
    return [(row["name"], row["films"]) for row in client.get("/api/v1/tags/").json()]


def test_films_are_tagged_by_list_and_by_filter_and_undone(boss: Client, films: list[Image]) -> None:
    of: Dataset = films[0].dataset
    done = post(boss, "films/", tag="A", images=[str(film.uuid) for film in films[:2]])
    assert done.status_code == 201
    assert (done.json()["tag"], done.json()["films"], done.json()["same"]) == ("a", 2, 0)
    done = post(boss, "films/", tag="a", dataset=str(of.uuid), filters={"label": "abnormal"}).json()
    assert (done["films"], done["same"], listed(boss)) == (1, 1, [("a", 3)])
    images = f"/api/v1/datasets/{of.uuid}/images/"
    assert [row["tags"] for row in boss.get(images, {"tag": "a"}).json()["results"]] == [["a"]] * 3
    assert boss.get(f"/api/v1/images/{films[0].uuid}/").json()["tags"] == ["a"]
    assert post(boss, "undo/", act=done["act"]).json()["films"] == 1
    removed = post(boss, "films/", tag="a", remove=True, images=[str(films[0].uuid)]).json()
    assert (removed["adds"], listed(boss)) == (False, [("a", 1)])


def test_what_is_asked_wrongly_is_refused(boss: Client, films: list[Image]) -> None:
    for data, status in (
        ({"tag": "a"}, 400),
        ({"tag": "a|b", "images": [str(films[0].uuid)]}, 400),
        ({"tag": "a", "images": [str(factories.somewhere())]}, 404),
        ({"tag": "a", "images": [str(films[0].uuid)], "filters": {}}, 400),
        ({"tag": "a", "remove": True, "images": [str(films[0].uuid)]}, 400),
    ):
        assert post(boss, "films/", **data).status_code == status
    assert post(boss, "undo/", act=str(factories.somewhere())).status_code == 404
    reader = with_token(factories.user("ben", Role.READER))
    assert post(reader, "films/", tag="a", images=[str(films[0].uuid)]).status_code == 403


def test_managers_rename_merge_and_delete(boss: Client, films: list[Image]) -> None:
    for name, film in zip(("a", "b"), films, strict=False):
        post(boss, "films/", tag=name, images=[str(film.uuid)])
    a, b = FilmTag.objects.order_by("name")
    assert post(boss, f"{a.uuid}/rename/", name="C").json() == {"name": "c"}
    assert post(boss, f"{a.uuid}/rename/", name="b").status_code == 400
    assert post(boss, f"{b.uuid}/merge/", into=str(a.uuid)).json() == {"films": 1}
    assert post(boss, f"{a.uuid}/merge/", into=str(a.uuid)).status_code == 400
    curator = with_token(factories.curator("ann"))
    assert post(curator, f"{a.uuid}/delete/").status_code == 403
    assert post(boss, f"{a.uuid}/delete/").json() == {"films": 2}
    assert listed(boss) == []
