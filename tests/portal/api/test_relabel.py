"""Relabelling by API: the preview, its application, its undo."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import CurrentLabel, Dataset, Image, Role
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    films = factories.films(of, normal=2)
    film = factories.film(of)
    box = {"x": 1.0, "y": 1.0, "width": 4.0, "height": 4.0, "finding": ""}
    factories.event(film, "abnormal", findings=["nodule"], boxes=[box])
    return [*films, film]


@pytest.fixture
def curator(of: Dataset) -> Client:
    return with_token(factories.curator())


def ask(client: Client, what: str, **body: Any) -> Any:
    return client.post(f"/api/v1/labels/{what}/", body, content_type="application/json")


def uuids(films: list[Image]) -> list[str]:
    return [str(film.uuid) for film in films]


def test_preview_apply_and_undo(curator: Client, films: list[Image]) -> None:
    answer = ask(curator, "preview", images=uuids(films), value="normal", attributes=["device"])
    assert answer.status_code == 200
    body = answer.json()
    token = body.pop("token")
    assert body.pop("sentences")[0] == "1 film changes from abnormal to normal."
    assert body == {
        "films": 3,
        "changes": [
            {"before": "normal", "after": "normal", "films": 2},
            {"before": "abnormal", "after": "normal", "films": 1},
        ],
        "keeping": 0,
        "gone": {"films": 1, "findings": {"nodule": 1}, "attributes": {}, "boxes": 1},
        "omitted": 0,
        "in_test": 0,
        "criteria": None,
    }
    factories.event(films[0], "exclude")
    done = ask(curator, "apply", token=token)
    assert (done.status_code, done.json()["films"], done.json()["left_aside"]) == (201, 2, [str(films[0].uuid)])
    assert ask(curator, "apply", token=token).json() == done.json()
    assert CurrentLabel.objects.get(image=films[2]).attributes == ["device"]
    undone = ask(curator, "undo", act=done.json()["act"])
    assert undone.json() == {"act": done.json()["act"], "films": 2}
    assert CurrentLabel.objects.get(image=films[2]).value == "abnormal"
    assert ask(curator, "undo", act=done.json()["act"]).status_code == 400


def test_all_films_of_a_dataset_by_filters(curator: Client, of: Dataset, films: list[Image]) -> None:
    answer = ask(curator, "preview", dataset=str(of.uuid), filters={"label": "normal"}, value="exclude").json()
    assert answer["changes"] == [{"before": "normal", "after": "exclude", "films": 2}]
    assert ask(curator, "preview", dataset=str(of.uuid), value="exclude").json()["films"] == 3


def test_what_does_not_hold_any_more_is_a_conflict(curator: Client, films: list[Image]) -> None:
    token = ask(curator, "preview", images=uuids(films[:1]), value="exclude").json()["token"]
    factories.criteria("No device.")
    answer = ask(curator, "apply", token=token)
    assert (answer.status_code, "has changed to v1" in answer.json()["detail"]) == (409, True)
    token = ask(curator, "preview", images=uuids(films[:1]), value="exclude").json()["token"]
    factories.event(films[0], "unsure")
    answer = ask(curator, "apply", token=token)
    assert (answer.status_code, answer.json()["films"]) == (409, 0)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"value": "normal"}, "either `images` or `dataset`"),
        ({"value": "normal", "images": [str(factories.somewhere())], "filters": {}}, "belong to a `dataset`"),
        ({"value": "perhaps", "images": "films"}, "is unknown"),
        ({"value": "abnormal", "images": "films", "attributes": ["device"]}, "attribute of normal films"),
    ],
)
def test_wrong_requests_are_explained(curator: Client, films: list[Image], body: dict[str, Any], sentence: str) -> None:
    if body.get("images") == "films":
        body = {**body, "images": uuids(films)}
    answer = ask(curator, "preview", **body)
    assert (answer.status_code, sentence in answer.content.decode()) == (400, True)


def test_a_token_of_something_else_is_refused(curator: Client) -> None:
    answer = ask(curator, "apply", token="x")
    assert (answer.status_code, "preview again" in answer.json()["detail"]) == (400, True)


def test_who_may_not_label_or_is_a_stranger_is_refused(curator: Client, of: Dataset, films: list[Image]) -> None:
    token = ask(curator, "preview", images=uuids(films), value="exclude").json()["token"]
    act = ask(curator, "apply", token=token).json()["act"]
    reader = with_token(factories.user("reader", Role.READER))
    stranger = with_token(factories.user("stranger", *Role, at=factories.site("Busan")))
    for client, refusal in ((reader, 403), (stranger, 404)):
        assert ask(client, "preview", images=uuids(films), value="normal").status_code == refusal
        assert ask(client, "preview", dataset=str(of.uuid), value="normal").status_code == refusal
        assert ask(client, "undo", act=act).status_code == refusal
        assert ask(client, "apply", token=token).status_code == 400
    assert (
        ask(curator, "preview", images=[*uuids(films), str(factories.somewhere())], value="normal").status_code == 404
    )
    assert CurrentLabel.objects.filter(value="exclude").count() == 3
