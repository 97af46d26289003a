"""A stranger gets only the log-in page, /healthz and static files: every URL of the project is requested."""

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

OPEN = {
    *("healthz", "readyz", "accounts/login/", "accounts/invitation/anything/anything/"),
    *("accounts/password/lost/", "accounts/password/lost/sent/"),
}


def addresses(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every route of the project, with plausible values for its arguments."""
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
            kind = next(
                key for key, converter_of_kind in get_converters().items() if type(converter_of_kind) is type(converter)
            )
            value = {"uuid": str(uuid.uuid4()), "int": "1"}.get(kind, "anything")
            route = route.replace(f"<{kind}:{name}>", value).replace(f"<{name}>", value)
        return route
    # the admin's regular expressions: app labels, and the final pattern that matches anything
    regex = re.sub(r"\(\?P<app_label>([a-z_]+)[^)]*\)", r"\1", str(pattern.pattern))
    return re.sub(r"\(\?P<url>[^)]*\)", "anything", regex).strip("^$")


def all_addresses() -> list[str]:
    return sorted({route for route, _ in addresses(get_resolver())})


def test_the_walk_finds_the_urls_of_every_app() -> None:
    urls = all_addresses()
    assert len(urls) > 50
    for start in ("datasets/", "images/", "api/v1/", "results/", "runs/", "admin/", "healthz"):
        assert [address for address in urls if address.startswith(start)], start
    assert not [address for address in urls if "<" in address or "(" in address]


@pytest.mark.parametrize("method", ["get", "post"])
def test_no_url_responds_to_a_stranger(client: Client, method: str) -> None:
    answered = {}
    for address in all_addresses():
        if address in OPEN:
            continue
        response = getattr(client, method)(f"/{address}", REMOTE_ADDR="192.0.2.1")  # not this machine
        to_log_in = response.status_code == 302 and "/login/" in response["Location"]
        if not to_log_in and response.status_code not in (401, 403, 405):
            answered[address] = response.status_code
    assert answered == {}


@pytest.mark.slow
def test_open_pages_show_no_data(client: Client) -> None:
    factories.film(factories.dataset("Secret dataset"), "normal")
    for address in OPEN:
        response = client.get(f"/{address}")
        assert response.status_code == (503 if address == "readyz" else 200)  # no worker runs here
        assert b"Secret" not in response.content
        assert b"Seoul" not in response.content
    assert client.get("/healthz").content == b"ok"


def test_an_address_that_does_not_exist_is_a_404_for_a_stranger(client: Client) -> None:
    response = client.get("/no/such/page")
    assert response.status_code == 404
    assert b"Not found" in response.content


def test_log_in_leads_back_to_the_requested_page(client: Client) -> None:
    factories.curator("kim")
    redirect = client.get("/splits/")
    assert redirect["Location"] == "/accounts/login/?next=/splits/"
    answer = client.post(redirect["Location"], {"login": "kim", "password": factories.PASSWORD, "next": "/splits/"})
    assert answer["Location"] == "/splits/"


def test_the_admin_uses_the_same_log_in_page(client: Client) -> None:
    factories.user("root", is_staff=True, is_superuser=True)
    redirect = client.get("/admin/portal/site/")
    assert redirect["Location"].endswith("/login/?next=/admin/portal/site/")
    door = client.get("/admin/login/?next=/admin/portal/site/")
    assert door["Location"] == "/accounts/login/?next=/admin/portal/site/"
    credentials = {"login": "root", "password": factories.PASSWORD, "next": "/admin/portal/site/"}
    assert client.post("/admin/login/", credentials)["Location"].startswith("/accounts/login/")
    assert "_auth_user_id" not in client.session
    assert client.post("/accounts/login/", credentials)["Location"] == "/admin/portal/site/"
    assert client.get("/admin/portal/site/").status_code == 200


def test_the_admins_log_in_redirects_nowhere_else(client: Client) -> None:
    door = client.get("/admin/login/?next=https://evil.example/")
    page = client.get(door["Location"])
    assert "evil" not in page.content.decode()


def test_a_wrong_password_is_answered_with_a_sentence(client: Client) -> None:
    factories.curator("kim")
    answer = client.post("/accounts/login/", {"login": "kim", "password": "wrong"})
    assert answer.status_code == 200
    assert "do not match an account" in answer.content.decode()
