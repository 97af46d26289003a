"""Queues: created from the grid or a cohort, shown in order, with each person's place."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, Image, LabelEvent, QueuePlace, Role, ScreeningQueue, User
from portal.sets.cohorts import freeze_cohort
from portal.sets.screening_queues import InvalidQueue, Suspect, films_of, queue_films, queue_suspects
from portal.sets.splits import SplitRequest, draw_split
from tests.ml_engine import made
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def queue(of: Dataset, ann: User) -> ScreeningQueue:
    factories.films(of, normal=2, unlabelled=3)
    return make(of, ann)


def make(of: Dataset, author: User, order: str = "imported", **fields: Any) -> ScreeningQueue:
    values = {"name": "May", "source": "Normals", "images": of.images.all(), **fields}
    return queue_films(site=of.site, author=author, order=order, **values)


def in_order(queue: ScreeningQueue) -> list[Image]:
    return [member.image for member in queue.members.select_related("image").order_by("position")]


def films_at(client: Client, queue: ScreeningQueue, **query: Any) -> Any:
    return client.get(f"/queues/{queue.uuid}/films/", query)


# the order --------------------------------------------------------------------------------------------------


def test_the_orders(of: Dataset, ann: User) -> None:
    films = factories.films(of, normal=3, unlabelled=3)
    assert in_order(make(of, ann)) == films
    assert in_order(make(of, ann, "unlabelled")) == films[3:] + films[:3]
    shuffled = in_order(make(of, ann, "random", seed=7))
    assert shuffled == in_order(make(of, ann, "random", seed=7))
    assert shuffled != films
    assert set(shuffled) == set(films)
    assert in_order(make(of, ann, "random", seed=8)) != shuffled


def test_a_queue_never_changes(of: Dataset, ann: User) -> None:
    films = factories.films(of, unlabelled=2)
    queue = make(of, ann, "unlabelled")
    factories.event(films[0], "normal")
    factories.film(of)
    assert in_order(queue) == films


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"order": "score"}, "'score' is unknown"),
        ({"order": "random", "seed": 2**31}, "seed is 2147483648"),
        ({"name": " "}, "needs a name"),
        ({"images": Image.objects.none()}, "at least one"),
    ],
)
def test_a_refused_queue_is_explained(of: Dataset, ann: User, fields: Any, words: str) -> None:
    factories.film(of)
    with pytest.raises(InvalidQueue, match=words):
        make(of, ann, **fields)


def test_by_score_only_films_of_fit_are_queued(of: Dataset, ann: User) -> None:
    films = factories.films(of, normal=12)
    split = draw_split(
        SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=ann),
        fractions={"fit": 0.4, "tune": 0.2, "calibrate": 0.2, "test": 0.2},
    )
    fit = {film.pk for film in Image.objects.filter(split_images__member__part="fit")}
    suspects = [Suspect(film.pk) for film in reversed(films)]
    queue = queue_suspects(site=of.site, name="s", suspects=suspects, split=split, author=ann, source="a detector")
    assert [film.pk for film in in_order(queue)] == sorted(fit, reverse=True)
    held_out = [suspect for suspect in suspects if suspect.image_id not in fit]
    with pytest.raises(InvalidQueue, match="No film remains"):
        queue_suspects(site=of.site, name="s", suspects=held_out, split=split, author=ann, source="a detector")


def test_by_score_no_film_is_queued_of_which_another_split_holds_out_a_copy(of: Dataset, ann: User) -> None:
    films = factories.films(of, normal=3)
    other = factories.dataset("Copies")
    before, later = (factories.copy(film, other, "normal") for film in films[:2])
    fit = draw_split(SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=ann), fractions={"fit": 1.0})
    made.split(of.site, {"test": [before]}, name="T")
    suspects = [Suspect(film.pk) for film in films]
    queue = queue_suspects(site=of.site, name="s", suspects=suspects, split=fit, author=ann, source="a detector")
    assert in_order(queue) == films[1:]
    made.split(of.site, {"test": [later]}, name="U")
    assert [member.image for member in films_of(queue, ann)] == films[2:]


# pages ------------------------------------------------------------------------------------------------------


def test_the_films_of_the_grid_become_a_queue(curator: Client, of: Dataset) -> None:
    films = factories.films(of, normal=2, unlabelled=1)
    answer = curator.post(f"/datasets/{of.uuid}/queue/?label=normal", {"name": "normals", "order": "imported"})
    queue = ScreeningQueue.objects.get()
    assert answer["Location"] == f"/queues/{queue.uuid}/"
    assert (in_order(queue), queue.source) == (films[:2], "Normals: normal")


@pytest.mark.parametrize("seed", ["-1", "x", "9" * 12, "²"])
def test_an_invalid_seed_is_refused(curator: Client, of: Dataset, seed: str) -> None:
    factories.film(of)
    answer = curator.post(f"/datasets/{of.uuid}/queue/", {"name": "n", "order": "random", "seed": seed})
    assert (answer.status_code, "enter a whole number" in answer.content.decode()) == (400, True)


def test_a_cohort_becomes_a_queue(curator: Client, of: Dataset, ann: User) -> None:
    films = factories.films(of, normal=3)
    cohort = freeze_cohort(site=of.site, name="normals", images=films[:2], author=ann)
    curator.post(f"/cohorts/{cohort.uuid}/queue/", {"name": "again", "order": "imported"})
    queue = ScreeningQueue.objects.get()
    assert (in_order(queue), queue.source) == (films[:2], "cohort normals v1")


def test_the_list_shows_the_persons_place(curator: Client, queue: ScreeningQueue) -> None:
    assert "not started" in curator.get("/queues/").content.decode()
    curator.post(f"/queues/{queue.uuid}/place/", {"position": "4"})
    assert 'class="tabular">4</td>' in curator.get("/queues/").content.decode()


def test_the_films_come_in_order_and_in_pages(curator: Client, queue: ScreeningQueue) -> None:
    films = in_order(queue)
    answer = films_at(curator, queue, **{"from": 2, "count": 3}).json()
    assert [film["image"] for film in answer["films"]] == [str(film.uuid) for film in films[1:4]]
    assert (answer["next"], answer["total"]) == (5, 5)
    assert films_at(curator, queue, **{"from": 4}).json()["next"] is None
    first = films_at(curator, queue).json()["films"][0]
    assert (first["label"], first["boxes"]) == (
        {"value": "normal", "findings": [], "attributes": [], "seen": 1},
        None,
    )
    assert films_at(curator, queue, **{"from": "x", "count": "²"}).status_code == 200


def test_boxes_of_the_label_are_edited_and_others_shown(curator: Client, reader: Client, queue: ScreeningQueue) -> None:
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "finding": "nodule"}
    film = in_order(queue)[0]
    factories.event(film, "abnormal", boxes=[box])
    row = next(row for row in films_at(curator, queue).json()["films"] if row["image"] == str(film.uuid))
    assert (row["own_boxes"], row["boxes"]) == ([box], None)
    row = next(row for row in films_at(reader, queue).json()["films"] if row["image"] == str(film.uuid))
    assert row["own_boxes"] == []  # who may not label edits none
    assert reader.get(row["boxes"]).json() == {"boxes": [{**box, "source": "import"}]}
    factories.event(film, "abnormal", factories.curator("cho"), boxes=[{**box, "x": 7}])
    (address,) = [row["boxes"] for row in films_at(curator, queue).json()["films"] if row["boxes"]]
    assert curator.get(address).json() == {"boxes": [{**box, "source": "import"}]}


@pytest.mark.parametrize("films", [2, 12])
def test_films_take_a_constant_number_of_queries(
    curator: Client, of: Dataset, ann: User, films: int, django_assert_num_queries: Any
) -> None:
    factories.films(of, normal=films)
    queue = make(of, ann)
    with django_assert_num_queries(10):
        films_at(curator, queue)


def test_each_person_has_a_place(curator: Client, queue: ScreeningQueue, ann: User) -> None:
    film = in_order(queue)[1]
    curator.post(f"/queues/{queue.uuid}/place/", {"position": "99"})
    assert QueuePlace.objects.get().position == 5
    as_(ann).post("/labels/", {"image": str(film.uuid), "value": "normal", "queue": str(queue.uuid), "position": "3"})
    assert QueuePlace.objects.get(user=ann).position == 3
    assert LabelEvent.objects.get(author=ann).queue == queue
    assert 'data-place="3"' in as_(ann).get(f"/queues/{queue.uuid}/").content.decode()


@pytest.mark.parametrize("position", ["", "x", "-1", "²", "9" * 20])
def test_an_invalid_place_is_refused(curator: Client, queue: ScreeningQueue, position: str) -> None:
    answer = curator.post(f"/queues/{queue.uuid}/place/", {"position": position})
    assert (answer.status_code, "whole number" in answer.json()["error"]) == (400, True)


def test_a_label_in_a_queue_needs_a_film_of_the_queue(curator: Client, of: Dataset, queue: ScreeningQueue) -> None:
    data = {"image": str(factories.film(of).uuid), "value": "normal", "queue": str(queue.uuid)}
    answer = curator.post("/labels/", data)
    assert (answer.status_code, "not in this queue" in answer.json()["error"]) == (400, True)


def test_who_may(curator: Client, reader: Client, stranger: Client, of: Dataset, queue: ScreeningQueue) -> None:
    film = in_order(queue)[0]
    addresses = [
        f"/queues/{queue.uuid}/",
        f"/queues/{queue.uuid}/films/",
        f"/queues/{queue.uuid}/boxes/{film.uuid}/",
        f"/api/v1/queues/{queue.uuid}/images/",
    ]
    for address in addresses:
        assert (reader.get(address).status_code, stranger.get(address).status_code) == (200, 404), address
    assert 'id="labelbar"' not in reader.get(addresses[0]).content.decode()
    assert reader.post(f"/datasets/{of.uuid}/queue/", {"name": "n"}).status_code == 403
    for address in (f"/datasets/{of.uuid}/queue/", f"/queues/{queue.uuid}/place/"):
        assert stranger.post(address, {"name": "n", "position": "1"}).status_code == 404
    assert str(queue.uuid) not in stranger.get("/queues/").content.decode()
    assert stranger.get("/api/v1/queues/").json()["results"] == []
    other = factories.film(factories.dataset("Other"))
    assert curator.get(f"/queues/{queue.uuid}/boxes/{other.uuid}/").status_code == 404


def test_the_api_returns_queues(curator: Client, queue: ScreeningQueue) -> None:
    assert curator.get("/api/v1/queues/").json()["results"][0]["films"] == 5
    first = curator.get(f"/api/v1/queues/{queue.uuid}/images/?limit=2").json()
    then = curator.get(first["next"]).json()
    images = [row["image"] for row in first["results"] + then["results"]]
    assert images == [str(film.uuid) for film in in_order(queue)[:4]]


def test_analysts_may_create_queues(of: Dataset) -> None:
    factories.film(of)
    analyst = as_(factories.user("analyst", Role.ANALYST))
    assert analyst.post(f"/datasets/{of.uuid}/queue/", {"name": "n"}).status_code == 302


def test_the_page_shows_the_criteria_or_how_to_write_them(curator: Client, queue: ScreeningQueue) -> None:
    address = f"/queues/{queue.uuid}/"
    assert "A manager of the site can write the criteria" in one_line(curator.get(address))
    boss = as_(factories.user("boss", Role.MANAGER))
    assert '<a href="/criteria/">Write the criteria</a>' in one_line(boss.get(address))
    factories.criteria("No <i>device</i>.\n\nFull inspiration.")
    page = one_line(curator.get(address))
    assert "What normal means here (v1)" in page
    assert "<p>No &lt;i&gt;device&lt;/i&gt;.</p> <p>Full inspiration.</p>" in page
    assert 'value="poor inspiration" data-attribute="5"' in page
