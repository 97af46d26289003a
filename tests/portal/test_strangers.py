"""Nothing but the log-in page, /healthz and static files answers a stranger: every address of the project is asked."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.converters import get_converters

from tests.portal import factories

pytestmark = [pytest.mark.django_db]

OPEN = {"healthz", "accounts/login/"}


def addresses(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every route of the project, with something plausible for each of its arguments."""
    for pattern in resolver.url_patterns:
        route = before + _filled(pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, route)
        else:
            yield route, pattern


def _filled(pattern: Any) -> str:
    if hasattr(pattern.pattern, "_route"):
        route = str(pattern.pattern)
        for name, converter in pattern.pattern.converters.items():
            kind = next(key for key, known in get_converters().items() if type(known) is type(converter))
            value = {"uuid": str(uuid.uuid4()), "int": "1"}.get(kind, "anything")
            route = route.replace(f"<{kind}:{name}>", value).replace(f"<{name}>", value)
        return route
    # the admin's: its words for the applications, and its last one for anything else
    regex = re.sub(r"\(\?P<app_label>([a-z_]+)[^)]*\)", r"\1", str(pattern.pattern))
    return re.sub(r"\(\?P<url>[^)]*\)", "anything", regex).strip("^$")


def all_addresses() -> list[str]:
    return sorted({route for route, _ in addresses(get_resolver())})


def test_the_walk_finds_the_addresses_of_every_room() -> None:
    found = all_addresses()
    assert len(found) > 50
    for start in ("datasets/", "images/", "api/v1/", "results/", "runs/", "admin/", "healthz"):
        assert [address for address in found if address.startswith(start)], start
    assert not [address for address in found if "<" in address or "(" in address]


@pytest.mark.parametrize("method", ["get", "post"])
def test_no_address_answers_a_stranger(client: Client, method: str) -> None:
    answered = {}
    for address in all_addresses():
        if address in OPEN:
            continue
        response = getattr(client, method)(f"/{address}")
        to_log_in = response.status_code == 302 and "/login/" in response["Location"]
        if not to_log_in and response.status_code not in (401, 403, 405):
            answered[address] = response.status_code
    assert answered == {}


def test_what_is_open_shows_nothing_of_the_data(client: Client) -> None:
    factories.film(factories.dataset("Secret dataset"), "normal")
    for address in OPEN:
        response = client.get(f"/{address}")
        assert response.status_code == 200
        assert b"Secret" not in response.content
        assert b"Seoul" not in response.content
    assert client.get("/healthz").content == b"ok"


def test_an_address_that_does_not_exist_is_a_404_for_a_stranger(client: Client) -> None:
    response = client.get("/no/such/page")
    assert response.status_code == 404
    assert b"Not found" in response.content


def test_log_in_leads_back_to_the_page_that_was_asked_for(client: Client) -> None:
    factories.curator("kim")
    asked = client.get("/splits/")
    assert asked["Location"] == "/accounts/login/?next=/splits/"
    answer = client.post(asked["Location"], {"username": "kim", "password": factories.PASSWORD, "next": "/splits/"})
    assert answer["Location"] == "/splits/"


def test_the_admin_has_the_same_door(client: Client) -> None:
    factories.user("root", is_staff=True, is_superuser=True)
    asked = client.get("/admin/portal/site/")
    assert asked["Location"].endswith("/login/?next=/admin/portal/site/")
    door = client.get("/admin/login/?next=/admin/portal/site/")
    assert door["Location"] == "/accounts/login/?next=/admin/portal/site/"
    given = {"username": "root", "password": factories.PASSWORD, "next": "/admin/portal/site/"}
    assert client.post("/admin/login/", given)["Location"].startswith("/accounts/login/")
    assert "_auth_user_id" not in client.session
    assert client.post("/accounts/login/", given)["Location"] == "/admin/portal/site/"
    assert client.get("/admin/portal/site/").status_code == 200


def test_the_admins_door_leads_nowhere_else(client: Client) -> None:
    door = client.get("/admin/login/?next=https://evil.example/")
    page = client.get(door["Location"])
    assert "evil" not in page.content.decode()


def test_a_wrong_password_is_answered_with_a_sentence(client: Client) -> None:
    factories.curator("kim")
    answer = client.post("/accounts/login/", {"username": "kim", "password": "wrong"})
    assert answer.status_code == 200
    assert "do not match an account" in answer.content.decode()
