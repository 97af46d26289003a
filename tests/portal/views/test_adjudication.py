"""The adjudicator's pages: what they show before and after the own verdict, and to whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import CurrentLabel, Dataset, Exposure, Role, ScreeningQueue, User
from portal.sets import adjudicating
from tests.portal import factories
from tests.portal.double import begun, close, films_of, manager, read
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def ada(of: Dataset) -> User:
    return factories.user("ada", Role.ADJUDICATOR)


@pytest.fixture
def queue(of: Dataset, ada: User) -> ScreeningQueue:
    """Two disputed films and one on which the readers agree; closed, with an adjudicator who has not begun."""
    ann, ben = factories.curator("ann"), factories.curator("ben")
    of.site.findings = ["nodule"]
    of.site.save()
    factories.films(of, unlabelled=3)
    queue = begun(of, ann, ben)
    for film in films_of(queue)[:2]:
        read(queue, film, ann, "abnormal", "nodule", reason="a rare word")
        read(queue, film, ben, "normal")
    for person in (ann, ben):
        read(queue, films_of(queue)[2], person, "normal")
    close(queue)
    adjudicating.name_adjudicator(queue=queue, adjudicator=ada, author=manager())
    return queue


def words(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_a_disagreement_is_settled(queue: ScreeningQueue, ada: User) -> None:
    client, (film, other, _) = as_(ada), films_of(queue)
    address = f"/queues/{queue.uuid}/adjudication/"
    assert "adjudicate" in words(client.get("/queues/"))
    page = words(client.get(address))
    assert "2 of 2 films left to settle" in page
    assert "Film 3" not in page  # agreed
    assert str(film) not in page
    assert f"{address}{film.uuid}/" not in page  # not begun
    assert "Begin the adjudication first" in words(client.get(f"{address}{film.uuid}/"))
    assert client.post(f"{address}begin/", follow=True).status_code == 200
    page = words(client.get(f"{address}{film.uuid}/"))
    assert "It is locked once given" in page
    assert not [word for word in ("a rare word", "Reader 1", str(film), "ann", "ben") if word in page]
    answer = client.post(f"{address}{film.uuid}/verdict/", {"value": "normal", "attribute": "device"}, follow=True)
    page = words(answer)
    assert "a rare word" in page
    assert not [name for name in ("ann", "ben") if f"{name}<" in page]  # who read is not named
    assert answer["Cache-Control"].count("no-store") == 1
    assert Exposure.objects.filter(person=ada, image=film, kind=Exposure.Kind.LABEL).exists()
    assert not Exposure.objects.filter(person=ada, image=other).exists()
    answer = client.post(f"{address}{film.uuid}/settle/", {"value": "abnormal", "finding": "nodule", "comment": "yes"})
    assert answer["Location"] == f"{address}{other.uuid}/"
    label = CurrentLabel.objects.get(image=film)
    assert (label.value, label.findings, label.source) == ("abnormal", ["nodule"], "adjudication")
    page = words(client.get(address))
    assert "1 of 2 films left to settle" in page
    assert "settled" in words(client.post(f"{address}{film.uuid}/settle/", {"value": "normal"}, follow=True))
    client.post(f"{address}{other.uuid}/verdict/", {"value": "normal"})
    page = words(client.post(f"{address}{other.uuid}/settle/", {"value": "normal"}, follow=True))
    assert "nothing is left to settle" in page
    history = words(client.get(f"/images/{film.uuid}/"))
    assert "ada, adjudication" in history
    assert "after readings by ann, ben" in history


def test_the_list_is_handed_back(queue: ScreeningQueue, ada: User) -> None:
    client, address = as_(ada), f"/queues/{queue.uuid}/adjudication/"
    assert "nothing to hand back" in words(client.post(f"{address}hand-back/", follow=True))
    client.post(f"{address}begin/")
    assert "Continue" in words(client.post(f"{address}hand-back/", follow=True))


def test_invalid_verdicts_are_explained(queue: ScreeningQueue, ada: User) -> None:
    client, film = as_(ada), films_of(queue)[0]
    address = f"/queues/{queue.uuid}/adjudication/"
    client.post(f"{address}begin/")
    for act in ("verdict", "settle"):
        page = words(client.post(f"{address}{film.uuid}/{act}/", {"value": "perhaps"}, follow=True))
        assert "perhaps" in page if act == "verdict" else "own verdict first" in page


def test_nobody_else_sees_the_list(queue: ScreeningQueue, stranger: Client, reader: Client) -> None:
    film = films_of(queue)[0]
    address = f"/queues/{queue.uuid}/adjudication/"
    people = [as_(User.objects.get(username=name)) for name in ("ann", "maria")]
    for path, method in [
        ("", "get"),
        (f"{film.uuid}/", "get"),
        ("begin/", "post"),
        ("hand-back/", "post"),
        (f"{film.uuid}/verdict/", "post"),
        (f"{film.uuid}/settle/", "post"),
    ]:
        assert getattr(stranger, method)(address + path).status_code == 404
        other = "post" if method == "get" else "get"
        assert getattr(people[0], other)(address + path).status_code == 405
        for client in [*people, reader]:
            answer = getattr(client, method)(address + path, {"value": "normal"} if method == "post" else {})
            assert answer.status_code == 403
            assert "a rare word" not in answer.content.decode()


def test_a_film_that_is_not_disputed_is_not_on_the_list(queue: ScreeningQueue, ada: User, of: Dataset) -> None:
    client, address = as_(ada), f"/queues/{queue.uuid}/adjudication/"
    assert client.get(f"{address}{films_of(queue)[2].uuid}/").status_code == 404
    assert client.get(f"{address}{factories.film(of).uuid}/").status_code == 404
