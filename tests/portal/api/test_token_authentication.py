"""A script that signs in with a token: its scope, its header, its sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from portal.models import ApiToken, Dataset, Image
from tests.portal import factories
from tests.portal.api.signing_in import with_token

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


def label(client: Client, film: Image) -> Any:
    body = {"images": [str(film.uuid)], "value": "normal"}
    return client.post("/api/v1/labels/", body, content_type="application/json")


def test_a_token_that_only_reads_reads(of: Dataset) -> None:
    film, author = factories.film(of), factories.curator()
    reading, writing = with_token(author, scope="read"), with_token(author)
    assert reading.get(f"/api/v1/datasets/{of.uuid}/images/").json()["count"] == 1
    assert reading.options("/api/v1/datasets/").status_code == 200
    refused = label(reading, film)
    assert refused.status_code == 403
    assert "only reads, and POST changes something" in refused.json()["detail"]
    assert not film.label_events.exists()
    assert label(writing, film).status_code == 201
    assert film.label_events.get().author == author


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_no_method_that_writes_passes_a_reading_token(method: str) -> None:
    reading = with_token(factories.curator(), scope="read")
    for address in ("/api/v1/account/keys/", "/api/v1/datasets/", "/api/v1/account/tokens/"):
        answer = getattr(reading, method)(address, {}, content_type="application/json")
        assert (answer.status_code, "only reads" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("word", ["Token", "token", "Bearer"])
def test_either_word_is_taken(word: str) -> None:
    client = Client(headers={"Authorization": f"{word} {factories.api_token(factories.curator())}"})
    assert client.get("/api/v1/datasets/").status_code == 200


@pytest.mark.parametrize("header", ["Token", "Token two words", "Token hilum_no", "Token é", "Token \xff"])
def test_what_is_no_token_is_refused_with_a_sentence(header: str) -> None:
    answer = Client(headers={"Authorization": header}).get("/api/v1/datasets/")
    assert answer.status_code in (401, 403)
    assert "token" in answer.json()["detail"]


def test_an_ended_token_says_so() -> None:
    client = with_token(factories.curator())
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "ended on" in client.get("/api/v1/datasets/").json()["detail"]


def test_a_token_opens_no_page_and_needs_no_cookie() -> None:
    client = with_token(factories.curator())
    assert client.get("/datasets/").status_code == 302
    assert client.get("/api/v1/datasets/").status_code == 200
    assert not client.cookies


def test_the_schema_names_both_ways_to_sign_in() -> None:
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)
    assert schema["components"]["securitySchemes"].keys() == {"cookieAuth", "tokenAuth"}
    assert {"tokenAuth": []} in schema["paths"]["/api/v1/datasets/"]["get"]["security"]
