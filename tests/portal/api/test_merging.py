"""A conflict of two people's labels settled by API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import Adjudication, Exposure, Image, LabelEvent, Role, User
from portal.people.blinding import open_for
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def film() -> Image:
    of = factories.film(factories.dataset(), "")
    factories.event(of, "abnormal", factories.user("other", Role.CURATOR), findings=["nodule"])
    return of


@pytest.fixture
def curator(film: Image) -> User:
    return factories.curator()


def merge(client: Client, film: Image, choice: str, **body: Any) -> Any:
    sent = {"image": str(film.uuid), "value": "normal", "seen": 1, "choice": choice, **body}
    return client.post("/api/v1/labels/merge/", sent, content_type="application/json")


def test_unresolved_keeps_both_labels(film: Image, curator: User) -> None:
    answer = merge(with_token(curator), film, "unresolved")
    assert (answer.status_code, answer.json()["label"]) == (200, "unresolved")
    assert LabelEvent.objects.filter(image=film).count() == 2
    assert Exposure.objects.filter(person=curator, image=film, kind=Exposure.Kind.LABEL).exists()


def test_theirs_withdraws_one_s_own(film: Image, curator: User) -> None:
    factories.event(film, "normal", curator)
    answer = merge(with_token(curator), film, "theirs", seen=2)
    assert (answer.json()["label"], answer.json()["findings"]) == ("abnormal", ["nodule"])


def test_mine_settles_the_film_by_an_adjudicator_alone(film: Image, curator: User) -> None:
    refused = merge(with_token(curator), film, "mine")
    assert (refused.status_code, "adjudicate labels" in refused.json()["detail"]) == (403, True)
    judge = factories.user("judge", Role.ADJUDICATOR)
    assert merge(with_token(judge), film, "mine").json()["label"] == "normal"
    assert Adjudication.objects.get().adjudicator == judge


def test_a_film_labelled_since_is_answered_with_409(film: Image, curator: User) -> None:
    answer = merge(with_token(curator), film, "unresolved", seen=0)
    assert (answer.status_code, "labelled again in the meantime" in answer.json()["detail"]) == (409, True)
    assert LabelEvent.objects.filter(image=film).count() == 1


def test_a_film_that_is_read_blinded_is_refused(film: Image, curator: User) -> None:
    open_for(person=curator, images=[film], source=film.uuid, words="a worklist", days=28)
    answer = merge(with_token(curator), film, "theirs")
    assert (answer.status_code, "blinded" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize(("body", "words"), [
    ({"choice": "both"}, "not a valid choice"), ({"value": "healthy"}, "healthy"), ({"seen": -1}, "seen"),
])  # fmt: skip
def test_a_bad_request_is_refused_with_a_sentence(film: Image, curator: User, body: dict[str, Any], words: str) -> None:
    answer = merge(with_token(curator), film, body.pop("choice", "unresolved"), **body)
    assert answer.status_code == 400
    assert words in answer.text


def test_another_site_s_film_does_not_exist(film: Image) -> None:
    stranger = factories.user("stranger", *Role, at=factories.site("Busan"))
    assert merge(with_token(stranger), film, "theirs").status_code == 404
