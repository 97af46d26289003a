"""The middleware sees every file that a person is sent; tests/access/test_walk.py requests every URL."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.models import AuditEvent, DownloadCount, Image, Upload
from portal.people import audit
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(log_in: Any) -> Client:
    client: Client = log_in(factories.curator())
    return client


@pytest.fixture
def film() -> Image:
    return factories.film(factories.dataset())


def counts() -> list[tuple[str, int]]:
    return list(DownloadCount.objects.order_by("what", "times").values_list("what", "times"))


def test_pixels_by_page_and_by_api_are_counted_together(client: Client, film: Image) -> None:
    token = factories.api_token(factories.curator("machine"), "read")
    by_api = f"/api/v1/images/{film.uuid}/pixels/"
    for response in (
        client.get(f"/images/{film.uuid}/pixels"),
        client.get(by_api),
        Client().get(by_api, headers={"Authorization": f"Token {token}"}),
    ):
        assert b"".join(response.streaming_content)
    assert counts() == [("pixels", 1), ("pixels", 2)]


def test_only_what_was_sent_is_recorded(client: Client, film: Image) -> None:
    film_page = f"/images/{film.uuid}/"
    etag = client.get(film_page + "preview").headers["ETag"]
    assert client.get(film_page + "preview", headers={"If-None-Match": etag}).status_code == 304
    assert client.get(film_page).status_code == 200
    assert client.get(film_page + "facts").status_code == 200
    assert client.get(f"/images/{factories.somewhere()}/pixels").status_code == 404
    assert Client().get(film_page + "pixels").status_code == 302
    assert counts() == [("previews", 1)]


def test_nothing_is_sent_that_cannot_be_recorded(client: Client, film: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**values: Any) -> None:
        raise RuntimeError("no such table")

    monkeypatch.setattr(audit, "record_about", fail)
    address = f"/uploads/{Upload.objects.create(dataset=film.dataset).uuid}/deidentification/?file=csv"
    client.raise_request_exception = False
    refused = client.get(address)
    assert (refused.status_code, "Content-Disposition" in refused.headers) == (500, False)
    monkeypatch.undo()
    assert client.get(address).status_code == 200
    assert AuditEvent.objects.filter(verb="download", target_uuid=film.dataset.uuid).count() == 1
