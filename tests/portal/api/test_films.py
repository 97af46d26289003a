"""One film by API: its history, boxes and parts, its pixels and preview."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from portal.models import Exposure, Role, User
from portal.people.blinding import open_for
from tests.access.world import OTHER_LIST
from tests.portal import factories

pytestmark = pytest.mark.django_db
BOX = {"x": 2.0, "y": 3.0, "width": 4.0, "height": 5.0, "finding": "nodule"}


@pytest.fixture
def curator(client: Client) -> User:
    person = factories.user("curator", Role.CURATOR)
    client.force_login(person)
    return person


def test_a_film_has_its_history_boxes_and_parts(client: Client, curator: User) -> None:
    film = factories.film(factories.dataset(), "normal")
    factories.event(film, "abnormal", curator, findings=["nodule"], boxes=[BOX])
    answer = client.get(reverse("api-image", args=[film.uuid])).json()
    assert [event["value"] for event in answer["history"]] == ["normal", "abnormal"]
    assert answer["history"][1]["author"] == "curator"
    assert [box["finding"] for box in answer["boxes"]] == ["nodule"]
    assert (answer["parts"], answer["dataset"]) == ([], str(film.dataset.uuid))
    assert Exposure.objects.filter(person=curator, image=film, kind=Exposure.Kind.LABEL).exists()


def test_pixels_and_preview_are_those_of_the_page(client: Client, curator: User) -> None:
    film = factories.film(factories.dataset(), "normal")
    stored = b"".join(client.get(reverse("portal:image-pixels", args=[film.uuid])).streaming_content)
    answer = client.get(reverse("api-image-pixels", args=[film.uuid]))
    assert answer["Content-Encoding"] == "gzip"
    sent = b"".join(answer.streaming_content)
    assert sent == stored
    assert len(np.frombuffer(gzip.decompress(sent), "<u2")) == film.rows * film.columns
    assert client.get(reverse("api-image-preview", args=[film.uuid]))["Content-Type"] == "image/jpeg"


def test_a_film_that_is_read_blinded_is_refused_and_a_strangers_is_not_there(client: Client, curator: User) -> None:
    film = factories.film(factories.dataset(), "normal")
    open_for(person=curator, images=[film], source=OTHER_LIST, words="the worklist Blinded", days=28)
    answer = client.get(reverse("api-image", args=[film.uuid]))
    assert (answer.status_code, "blinded" in answer.json()["detail"]) == (403, True)
    other = factories.film(factories.dataset("Far", at=factories.site("Busan")), "normal")
    for name in ("api-image", "api-image-pixels", "api-image-preview"):
        assert client.get(reverse(name, args=[other.uuid])).status_code == 404
