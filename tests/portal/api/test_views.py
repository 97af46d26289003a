"""The portal's API: the same functions and refusals as the pages, with a session or a token."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from portal.api.pagination import Pages
from portal.models import CurrentLabel, Dataset, Image, LabelEvent, Role, User
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def curator(of: Dataset) -> Client:
    return with_token(factories.curator())


@pytest.fixture
def stranger(of: Dataset) -> Client:
    return with_token(factories.user("stranger", *Role, at=factories.site("Busan")))


def test_only_a_valid_token_gives_access(curator: Client) -> None:
    assert curator.get("/api/v1/datasets/").status_code == 200
    wrong = Client(headers={"Authorization": "Token 0123456789"}).get("/api/v1/datasets/")
    assert wrong.status_code in (401, 403)
    assert "detail" in wrong.json()


def test_the_token_of_an_inactive_person_gives_no_access(of: Dataset) -> None:
    person = factories.curator()
    client = with_token(person)
    User.objects.update(is_active=False)
    assert client.get("/api/v1/datasets/").status_code in (401, 403)


def test_datasets_with_their_films(curator: Client, stranger: Client, of: Dataset) -> None:
    factories.films(of, normal=3)
    (row,) = curator.get("/api/v1/datasets/").json()["results"]
    assert (row["uuid"], row["name"], row["films"]) == (str(of.uuid), "Normals", 3)
    assert stranger.get("/api/v1/datasets/").json()["results"] == []


def test_films_with_labels_findings_and_patients(curator: Client, of: Dataset) -> None:
    film = factories.film(of, person="MRN-1", view="AP")
    factories.event(film, "abnormal", findings=["nodule"])
    plain = factories.film(of)
    first, second = curator.get(f"/api/v1/datasets/{of.uuid}/images/").json()["results"]
    assert (first["uuid"], first["label"], first["findings"]) == (str(film.uuid), "abnormal", ["nodule"])
    assert first["patient"] == str(film.patient.uuid)
    assert (second["uuid"], second["label"], second["findings"]) == (str(plain.uuid), None, [])
    assert "MRN-1" not in str(first)
    assert film.patient.pseudonym not in str(first)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        *(("", 6), ("label=normal", 3), ("label=unlabelled", 1), ("view=AP", 0)),
        *(("attribute=device", 0), ("criteria=none", 5), ("criteria=1", 0)),
    ],
)
def test_films_by_the_filters_of_the_page(curator: Client, of: Dataset, query: str, count: int) -> None:
    factories.films(of, normal=3, abnormal=2, unlabelled=1)
    assert curator.get(f"/api/v1/datasets/{of.uuid}/images/?{query}").json()["count"] == count


def test_films_by_split_and_part_and_page_by_page(curator: Client, of: Dataset) -> None:
    factories.films(of, normal=6)
    split_request = SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=factories.curator("author"))
    split = draw_split(split_request, fractions={"fit": 0.5, "test": 0.5})
    address = f"/api/v1/datasets/{of.uuid}/images/?split={split.uuid}&part=fit"
    assert curator.get(address).json()["count"] == 3
    page = curator.get(f"{address}&limit=2&offset=2").json()
    assert len(page["results"]) == 1
    (row,) = curator.get("/api/v1/splits/").json()["results"]
    assert (row["uuid"], row["counts"]["parts"]["fit"]) == (str(split.uuid), {"normal": 3})


HUGE = "9" * 20


@pytest.mark.both
@pytest.mark.parametrize(
    ("query", "films"),
    [
        ("limit=3", 3),
        (f"limit={HUGE}", 4),
        ("limit=1000000", 4),
        (f"limit={'9' * 5000}", 2),  # too long for int(): the default page size
        ("limit=-1", 2),
        ("limit=x", 2),
        (f"offset={HUGE}", 0),
        (f"limit={HUGE}&offset={HUGE}", 0),
        ("offset=-1", 2),
    ],
)
def test_no_page_is_too_large(
    curator: Client, of: Dataset, query: str, films: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.films(of, normal=6)
    monkeypatch.setattr(Pages, "max_limit", 4)
    monkeypatch.setattr(Pages, "default_limit", 2)
    answer = curator.get(f"/api/v1/datasets/{of.uuid}/images/?{query}")
    assert (answer.status_code, answer.json()["count"], len(answer.json()["results"])) == (200, 6, films)


def test_a_page_has_a_thousand_rows_at_most() -> None:
    assert (Pages.max_limit, Pages.default_limit) == (1000, 100)


def test_another_site_does_not_exist(stranger: Client, of: Dataset) -> None:
    factories.films(of, normal=2)
    answer = stranger.get(f"/api/v1/datasets/{of.uuid}/images/")
    assert (answer.status_code, "detail" in answer.json()) == (404, True)
    assert stranger.get("/api/v1/splits/").json()["results"] == []


@pytest.mark.parametrize("films", [2, 20])
def test_lists_take_a_constant_number_of_queries(
    curator: Client, of: Dataset, films: int, django_assert_num_queries: Any
) -> None:
    factories.films(of, normal=films)
    curator.get("/api/v1/sites/")  # the token's use is noted once a minute
    with django_assert_num_queries(9):
        curator.get(f"/api/v1/datasets/{of.uuid}/images/")


# labels -----------------------------------------------------------------------------------------------------


def send(client: Client, *images: Image | uuid.UUID, **data: Any) -> Any:
    uuids = [str(getattr(image, "uuid", image)) for image in images]
    return client.post("/api/v1/labels/", {"images": uuids, "value": "abnormal", **data}, "application/json")


def test_labels_are_appended_in_one_act(curator: Client, of: Dataset) -> None:
    films = factories.films(of, unlabelled=2)
    answer = send(curator, *films, findings=["nodule"], reason="by script")
    assert (answer.status_code, answer.json()["films"]) == (201, 2)
    assert LabelEvent.objects.filter(batch=answer.json()["act"], reason="by script").count() == 2
    assert {label.finding_words for label in CurrentLabel.objects.all()} == {"|nodule|"}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"value": "ill"}, "unknown"),
        ({"images": []}, "images"),
        ({"images": ["x"]}, "images"),
        ({"value": None}, "value"),
        ({"findings": ["a|b"]}, "finding"),
        ({"value": "normal", "attributes": ["pacemaker"]}, "pacemaker"),
        ({"attributes": ["device"]}, "attribute of normal films"),
    ],
)
def test_an_invalid_request_names_the_fault(curator: Client, of: Dataset, data: dict[str, Any], word: str) -> None:
    answer = send(curator, factories.film(of), **data)
    assert answer.status_code == 400
    assert word in str(answer.json())
    assert not LabelEvent.objects.exists()


def test_findings_that_are_not_sent_are_kept_and_an_empty_list_removes_them(curator: Client, of: Dataset) -> None:
    film = factories.film(of)
    factories.event(film, "abnormal", findings=["nodule"], boxes=[{"x": 1, "y": 2, "width": 3, "height": 4}])
    kept = send(curator, film).json()
    assert (kept["gone"], kept["note"], CurrentLabel.objects.get().findings) == ({}, "", ["nodule"])
    cleared = send(curator, film, findings=[]).json()
    assert cleared["gone"] == {str(film.uuid): {"findings": ["nodule"], "boxes": 0, "attributes": []}}
    assert cleared["note"] == "The finding nodule of the earlier label no longer counts; undo brings it back."
    assert send(curator, film, value="normal").json()["gone"] == {
        str(film.uuid): {"findings": [], "boxes": 1, "attributes": []}
    }


def test_attributes_and_criteria_of_labels(curator: Client, stranger: Client, of: Dataset) -> None:
    first, second = factories.films(of, unlabelled=2)
    factories.event(second, "normal")
    factories.criteria("No device.")
    newest = factories.criteria("A device is normal.")
    send(curator, first, value="normal", attributes=["variant", "device"])
    send(curator, first, value="normal")  # keeps them
    rows = curator.get(f"/api/v1/datasets/{of.uuid}/images/").json()["results"]
    assert [(row["attributes"], row["criteria"]) for row in rows] == [(["device", "variant"], 2), ([], None)]
    send(curator, first, value="normal", attributes=[])
    assert CurrentLabel.objects.get(image=first).attributes == []
    versions = curator.get("/api/v1/criteria/").json()["results"]
    assert [(row["version"], row["text"]) for row in versions] == [(2, "A device is normal."), (1, "No device.")]
    assert versions[0]["uuid"] == str(newest.uuid)
    assert stranger.get("/api/v1/criteria/").json()["results"] == []


def test_boxes_of_a_label_are_checked_and_kept(curator: Client, of: Dataset) -> None:
    film = factories.film(of)
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "finding": "nodule"}
    assert send(curator, film, boxes=[box]).status_code == 201
    assert send(curator, film).status_code == 201
    assert [event.boxes for event in film.label_events.order_by("pk")] == [[box], [box]]
    assert "does not fit the film" in send(curator, film, boxes=[{**box, "x": 18}]).json()["detail"]


def test_one_unknown_film_labels_none(curator: Client, of: Dataset) -> None:
    assert send(curator, factories.film(of), uuid.uuid4()).status_code == 404
    assert not LabelEvent.objects.exists()


def test_a_film_named_twice_is_labelled_once(curator: Client, of: Dataset) -> None:
    film = factories.film(of)
    assert send(curator, film, film).json()["films"] == 1


def test_a_reader_labels_nothing(of: Dataset) -> None:
    answer = send(with_token(factories.user("reader", Role.READER)), factories.film(of))
    assert answer.status_code == 403
    assert "To label films at Seoul" in answer.json()["detail"]


def test_films_of_another_site_are_not_labelled(stranger: Client, of: Dataset) -> None:
    assert send(stranger, factories.film(of)).status_code == 404


def test_read_only_endpoints_refuse_post(curator: Client, of: Dataset) -> None:
    for address in (f"datasets/{of.uuid}/images/", "criteria/"):
        assert curator.post(f"/api/v1/{address}").status_code == 405
    assert curator.get("/api/v1/labels/").status_code == 405


@pytest.mark.slow
def test_the_schema_describes_every_endpoint(curator: Client) -> None:
    schema = curator.get("/api/v1/schema/?format=json").json()
    for address in ("datasets/", "datasets/{uuid}/images/", "splits/", "criteria/", "labels/"):
        assert f"/api/v1/{address}" in schema["paths"]
