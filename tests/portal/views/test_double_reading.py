"""Double reading on the pages: nothing of another reader's reading reaches a reader, and nobody else reads."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from portal.models import (
    CurrentLabel,
    Dataset,
    DoubleReading,
    Exposure,
    Image,
    LabelEvent,
    QueuePlace,
    QueueReader,
    QueueReading,
    Role,
    ScreeningQueue,
    User,
)
from portal.people.exposure import record_exposure
from portal.sets import double_reading
from tests.portal import factories
from tests.portal.double import films_of, manager
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]
BOX = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "finding": "a rare word"}


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def ben(of: Dataset) -> User:
    return factories.curator("ben")


@pytest.fixture
def maria(of: Dataset) -> Client:
    return as_(manager())


@pytest.fixture
def queue(of: Dataset, ann: User, ben: User, maria: Client) -> ScreeningQueue:
    factories.films(of, unlabelled=3)
    answer = maria.post(
        f"/datasets/{of.uuid}/queue/?label=unlabelled",
        {"name": "Pairs", "order": "imported", "double": "1", "reader": [str(ann.uuid), str(ben.uuid)]},
    )
    assert answer.status_code == 302
    return ScreeningQueue.objects.get()


def beginner(queue: ScreeningQueue, person: User) -> Client:
    client = as_(person)
    assert client.post(f"/queues/{queue.uuid}/begin/").status_code == 302
    return client


def send(client: Client, queue: ScreeningQueue, film: Image, value: str, **more: Any) -> Any:
    data = {"image": str(film.uuid), "value": value, "queue": str(queue.uuid), "act": str(uuid.uuid4()), **more}
    return client.post("/labels/", data, headers={"Accept": "application/json"})


def words(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_the_form_offers_those_who_may_label(maria: Client, of: Dataset, ann: User, ben: User) -> None:
    factories.film(of)
    factories.user("rita", Role.READER)
    page = words(maria.get(f"/datasets/{of.uuid}/"))
    assert f'name="reader" value="{ann.uuid}"' in page
    assert "rita" not in page


@pytest.mark.parametrize(("readers", "sentence"), [
    ([], "No reader is chosen"),
    (["nonsense"], "identifier of a reader is invalid"),
    ([str(uuid.uuid4())], "A reader does not exist"),
    (["ann"], "choose at least two"),
])  # fmt: skip
def test_invalid_readers_are_refused(maria: Client, of: Dataset, ann: User, readers: list[str], sentence: str) -> None:
    factories.film(of)
    named = [str(ann.uuid) if reader == "ann" else reader for reader in readers]
    data = {"name": "n", "order": "imported", "double": "1", "reader": named}
    answer = maria.post(f"/datasets/{of.uuid}/queue/", data)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()


def test_opening_the_queue_begins_nothing(queue: ScreeningQueue, ann: User) -> None:
    page = words(as_(ann).get(f"/queues/{queue.uuid}/"))
    assert "You and 1 other read these films" in page
    assert "Begin" in page
    assert QueueReader.objects.get(user=ann).expires_at is None
    page = words(beginner(queue, ann).get(f"/queues/{queue.uuid}/"))
    assert 'id="labelbar"' in page
    assert "Hand back" in page


def test_nothing_of_another_reader_reaches_a_reader(queue: ScreeningQueue, of: Dataset, ann: User, ben: User) -> None:
    """On no page, in no JSON, header or name of a file: not of a reading, not of a label."""
    film, unread, labelled = films_of(queue)
    of_ann, of_ben = beginner(queue, ann), beginner(queue, ben)
    rare = {"finding": "a rare word", "reason": "because of that", "boxes": json.dumps([BOX])}
    for one in (film, unread):
        assert send(of_ann, queue, one, "abnormal", **rare).status_code == 200
    factories.event(labelled, "abnormal", ann, findings=["a rare word"], boxes=[BOX])
    factories.event(labelled, "normal", factories.curator("carl"))  # so that ann's boxes are shown as those of another
    act = str(uuid.uuid4())
    answers = [
        of_ben.get(f"/queues/{queue.uuid}/"),
        of_ben.get(f"/queues/{queue.uuid}/films/"),
        of_ben.get(f"/queues/{queue.uuid}/boxes/{labelled.uuid}/"),
        send(of_ben, queue, film, "normal", seen="0", act=act),
        send(of_ben, queue, film, "normal", seen="0", act=act),
        of_ben.post("/labels/undo/", {"act": act, "site": str(queue.site.uuid)}),
        send(of_ben, queue, film, "abnormal", seen="0"),  # the same value as that of the other reader
        of_ben.get("/queues/"),
        of_ben.get("/api/v1/queues/"),
        of_ben.get(f"/api/v1/queues/{queue.uuid}/images/"),
    ]
    # The pages of a film that ben has read himself, and is shown again: ann's reading is on none of them.
    answers += [of_ben.get(f"/images/{film.uuid}/"), of_ben.get(f"/images/{film.uuid}/boxes")]
    answers += [of_ben.get(f"/datasets/{of.uuid}/counts/?label=abnormal")]
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        text = f"{answer.headers} {answer.content.decode()}"
        assert not [
            word for word in ("a rare word", "because of that", "ann<", '"value": "unresolved"') if word in text
        ]
    labels = [answer.json()["labels"][str(film.uuid)] for answer in answers[3:7]]
    blank = {"value": "", "findings": [], "attributes": [], "seen": 0}
    own = {**blank, "value": "normal"}
    assert labels == [own, own, blank, {**own, "value": "abnormal"}]
    assert {answer.json()["note"] for answer in answers[3:7]} == {""}
    rows = answers[1].json()["films"]
    assert [(row["label"], row["boxes"], row["own_boxes"], row["name"]) for row in rows] == [
        (blank, None, [], f"Film {number}") for number in (1, 2, 3)
    ]
    assert answers[2].json() == {"boxes": []}
    assert all("Normals" not in answer.content.decode() for answer in answers[7:9])  # where the films come from
    assert not CurrentLabel.objects.filter(image__in=[film, unread]).exists()


def test_a_reader_gets_their_own_readings_and_place_back(queue: ScreeningQueue, ann: User) -> None:
    client, film = beginner(queue, ann), films_of(queue)[0]
    boxes = json.dumps([BOX])
    answer = send(client, queue, film, "abnormal", finding=["nodule"], boxes=boxes, position="2").json()
    label = {"value": "abnormal", "findings": ["nodule"], "attributes": [], "seen": 0}
    assert answer["labels"] == {str(film.uuid): label}
    assert (answer["changed"], answer["gone"], answer["criteria"]) == ({}, {}, None)
    assert QueuePlace.objects.get(user=ann).position == 2
    first = client.get(f"/queues/{queue.uuid}/films/").json()["films"][0]
    assert (first["label"], first["own_boxes"]) == (label, [BOX])
    gone = send(client, queue, film, "normal", attribute=["device"]).json()
    assert gone["gone"] == {str(film.uuid): {"findings": ["nodule"], "boxes": 1, "attributes": []}}
    assert "undo brings them back" in gone["note"]


def test_others_see_the_films_without_readings_and_do_not_read(queue: ScreeningQueue, ann: User) -> None:
    film = films_of(queue)[0]
    send(beginner(queue, ann), queue, film, "abnormal")
    carl = as_(factories.curator("carl"))
    page = words(carl.get(f"/queues/{queue.uuid}/"))
    assert 'id="labelbar"' not in page
    assert "nobody else reads in this queue" in page
    assert carl.get(f"/queues/{queue.uuid}/films/").json()["films"][0]["label"]["value"] == ""
    refused = send(carl, queue, film, "normal")
    assert (refused.status_code, "read by other people" in refused.json()["error"]) == (403, True)
    assert "read by other people" in words(carl.post(f"/queues/{queue.uuid}/begin/", follow=True))
    assert QueueReading.objects.count() == 1


def test_a_reader_is_not_told_that_films_of_the_queue_are_left_out(
    maria: Client, queue: ScreeningQueue, ann: User
) -> None:
    page = words(beginner(queue, ann).get(f"/queues/{queue.uuid}/"))
    assert "1 of 3" in page
    assert "left out" not in page
    listed = words(as_(ann).get("/queues/"))
    assert "are left out here" in listed


def test_managers_see_the_progress_of_each_reader_and_readers_that_of_no_other(
    queue: ScreeningQueue, ann: User, maria: Client
) -> None:
    client = beginner(queue, ann)
    send(client, queue, films_of(queue)[0], "abnormal")
    page = words(maria.get(f"/queues/{queue.uuid}/"))
    assert '<dt>ann</dt> <dd class="tabular">1 of 3, reading</dd>' in page
    assert '<dt>ben</dt> <dd class="tabular">0 of 3, not begun</dd>' in page
    assert '<dd class="tabular">0 of 3</dd>' in page
    page = words(client.get(f"/queues/{queue.uuid}/"))  # which shows their own place as a bar
    assert "<dt>ann</dt>" not in page
    assert "<dt>ben</dt>" not in page


def test_the_queue_is_handed_back(queue: ScreeningQueue, ann: User) -> None:
    client = beginner(queue, ann)
    page = client.post(f"/queues/{queue.uuid}/hand-back/", follow=True).content.decode()
    assert "Pairs is handed back with 3 films unread. Your readings stay." in page
    assert "nothing to hand back" in client.post(f"/queues/{queue.uuid}/hand-back/", follow=True).content.decode()
    refused = send(client, queue, films_of(queue)[0], "normal")
    assert (refused.status_code, "begin it on its page first" in refused.json()["error"]) == (403, True)


def test_a_reader_who_is_done_looks_at_their_own_readings(queue: ScreeningQueue, ann: User) -> None:
    client = beginner(queue, ann)
    for film in films_of(queue):
        send(client, queue, film, "normal")
    double_reading.hand_back(queue=queue, person=ann)
    page = client.get(f"/queues/{queue.uuid}/").content.decode()
    assert 'id="queue"' in page
    assert 'id="labelbar"' not in page


def test_a_manager_closes_the_reading_once(queue: ScreeningQueue, ann: User, ben: User, maria: Client) -> None:
    address = f"/queues/{queue.uuid}/close/"
    assert "nothing to close" in words(maria.post(address, follow=True))
    agreed, disputed, _ = films_of(queue)
    for person, values in ((ann, ("normal", "normal")), (ben, ("normal", "abnormal"))):
        client = beginner(queue, person)
        for film, value in zip((agreed, disputed), values, strict=True):
            send(client, queue, film, value)
    assert as_(ann).post(address).status_code == 403
    page = words(maria.post(address, follow=True))
    assert "Films labelled by agreement: 1; to be settled: 1; not read by all: 1." in page
    assert "1 left</dd>" in page
    assert "is closed already" in words(maria.post(address, follow=True))
    assert LabelEvent.objects.count() == 1
    page = words(as_(ann).get(f"/queues/{queue.uuid}/"))
    assert "To settle" not in page
    assert "Reading was closed" in page


def test_closing_and_its_page_say_where_a_reader_had_been_shown_something(
    queue: ScreeningQueue, ann: User, ben: User, maria: Client
) -> None:
    film = films_of(queue)[0]
    record_exposure(ann, Exposure.Kind.SCORE, [film.pk])
    for person in (ann, ben):
        send(beginner(queue, person), queue, film, "normal")
    page = words(maria.post(f"/queues/{queue.uuid}/close/", follow=True))
    assert "to be settled: 1, 1 of them because a reader who agrees had been shown a score, map or label first" in page
    assert 'Agreed, but shown a score, map or label first</dt> <dd class="tabular">1</dd>' in page
    page = words(maria.get(f"/results/double-readings/{queue.uuid}/"))
    assert "1 of which a reader had seen a score, map or label first" in page
    assert "model shown" in page


def test_a_manager_names_the_adjudicator(queue: ScreeningQueue, ann: User, maria: Client) -> None:
    ada = factories.user("ada", Role.ADJUDICATOR)
    address = f"/queues/{queue.uuid}/adjudicator/"
    for wrong in (str(ann.uuid), "nonsense", ""):
        page = maria.post(address, {"adjudicator": wrong}, follow=True).content.decode()
        assert "none of the readers" in page
    maria.post(address, {"adjudicator": str(ada.uuid)})
    assert DoubleReading.objects.get().adjudicator == ada
    assert as_(ann).post(address, {"adjudicator": str(ada.uuid)}).status_code == 403


def test_a_stranger_meets_no_queue(queue: ScreeningQueue, stranger: Client, reader: Client) -> None:
    for act in ("begin", "hand-back", "close", "adjudicator"):
        assert stranger.post(f"/queues/{queue.uuid}/{act}/").status_code == 404
        assert reader.get(f"/queues/{queue.uuid}/{act}/").status_code == 405
    assert reader.post(f"/queues/{queue.uuid}/begin/").status_code == 403
