"""Fixtures of the portal's tests."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.test import Client

from portal.imaging.decoding import Decoder
from portal.models import User
from tests.portal.intake import clamd


@pytest.fixture(autouse=True)
def _own_data_dir(request: pytest.FixtureRequest) -> None:
    """Every test that writes rows has an empty data folder of its own."""
    if request.node.get_closest_marker("django_db") or "db" in request.fixturenames:
        request.getfixturevalue("data_dir")


@pytest.fixture(scope="session")
def decoder() -> Generator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(autouse=True)
def _one_decoder(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share a real decoder process between all imports: starting one takes longer than most tests."""
    monkeypatch.setattr("portal.intake.films.Decoder", lambda: nullcontext(decoder))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The UUIDs of the queued uploads; no worker imports them."""
    from portal.intake import zip_uploads

    sent: list[str] = []
    monkeypatch.setattr(zip_uploads, "publish", lambda upload: sent.append(str(upload.uuid)))
    monkeypatch.setattr("portal.tasks.publish_look", lambda site: None)
    monkeypatch.setattr("portal.tasks.publish", lambda upload: sent.append(str(upload.uuid)))
    return sent


@pytest.fixture
def scanner(settings: Any) -> Iterator[Any]:
    """A server that speaks clamd's protocol, and to which the settings point."""
    with clamd.running() as server:
        settings.SCANNER = server.address
        yield server


@pytest.fixture
def log_in(client: Client) -> Any:
    def as_user(person: User) -> Client:
        client.force_login(person)
        return client

    return as_user
