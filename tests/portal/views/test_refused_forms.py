"""A form that is refused says which cause it has, in HTML and in JSON, and the log has the exact values."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, RequestFactory

from portal.models import Role, User
from portal.views.refused_forms import why
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
ORIGIN = "https://hilum.hospital.example:8443"


def browser(person: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)
    return client


@pytest.fixture
def reader() -> Client:
    return browser(factories.user("rosa", Role.READER))


def token_of(client: Client) -> str:
    return str(client.get("/accounts/password/").context["csrf_token"])


def send(client: Client, **headers: str) -> Any:
    return client.post("/theme/", {"theme": "dark", "csrfmiddlewaretoken": token_of(client)}, headers=headers)


def test_an_origin_that_is_not_trusted_is_answered_with_the_setting_to_change(
    reader: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = send(reader, origin=ORIGIN)
    page = one_line(answer)
    assert answer.status_code == 403
    assert f"came from {ORIGIN}, which this installation" in page
    assert "HILUM_TRUSTED_ORIGINS" in page and "logged in or out" not in page
    assert f"it came from {ORIGIN}, and this installation takes itself for http://testserver" in caplog.text
    assert send(reader, origin="http://testserver").status_code == 302


def test_a_scheme_that_the_proxy_does_not_pass_on_is_named(reader: Client) -> None:
    page = one_line(send(reader, origin="https://testserver"))
    assert "does not say that you came by https: its administrator lets it pass on X-Forwarded-Proto" in page


def test_an_administrator_sees_the_line_to_change() -> None:
    root = browser(factories.user("root", is_staff=True, is_superuser=True))
    page = one_line(send(root, origin=ORIGIN))
    assert "It takes itself for http://testserver" in page
    assert f"add {ORIGIN} to HILUM_TRUSTED_ORIGINS" in page


def test_a_page_of_another_host_is_named_without_its_path(reader: Client) -> None:
    reader.get("/accounts/password/", secure=True)
    answer = reader.post("/theme/", {"theme": "dark"}, secure=True, headers={"referer": f"{ORIGIN}/films/7?name=x"})
    assert f"came from {ORIGIN}, which" in one_line(answer)
    assert "films/7" not in answer.text


@pytest.mark.parametrize("headers", [{}, {"referer": "nonsense"}, {"referer": "https://[::1"}])
def test_a_form_of_nowhere_says_which_headers_are_missing(reader: Client, headers: dict[str, str]) -> None:
    token = token_of(reader)
    answer = reader.post("/theme/", {"theme": "dark", "csrfmiddlewaretoken": token}, secure=True, headers=headers)
    assert answer.status_code == 403
    assert "sent neither Origin nor Referer" in one_line(answer)


def test_a_form_whose_origin_the_browser_hid_says_why_browsers_do(
    reader: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = send(reader, origin="null", referer="http://testserver/accounts/password/")
    page = one_line(answer)
    assert answer.status_code == 403
    for cause in ("sandboxed frame", "saved as a file", "redirect", "extension for privacy", "Referrer-Policy"):
        assert cause in page
    assert "neither Origin nor Referer" not in page
    assert "it came from an opaque origin (null), and this" in caplog.text
    headers = {"origin": "null", "accept": "application/json"}
    refused = reader.put("/api/v1/account/keys/", {"keys": {}}, content_type="application/json", headers=headers)
    assert "Origin: null" in refused.json()["detail"]


def test_a_form_without_a_cookie_says_so(reader: Client) -> None:
    assert "sent no cookie with this form" in one_line(reader.post("/theme/", {"theme": "dark"}))


@pytest.mark.slow
def test_only_the_token_of_another_log_in_is_answered_by_having_logged_in_or_out(reader: Client) -> None:
    token = token_of(reader)
    other = browser(factories.user("other"))
    for sent, stale in ((token_of(other), True), ("x" * 64, True), ("x" * 10, False), ("", False), ("-" * 64, False)):
        page = one_line(reader.post("/theme/", {"theme": "dark", "csrfmiddlewaretoken": sent}))
        assert ("You have logged in or out" in page) == stale, sent
        assert ("did not arrive whole" in page) != stale, sent
    assert reader.post("/theme/", {"theme": "dark", "csrfmiddlewaretoken": token}).status_code == 302


def test_the_log_in_form_behind_a_wrong_proxy_is_answered_likewise() -> None:
    client = Client(enforce_csrf_checks=True)
    token = client.get("/accounts/login/").context["csrf_token"]
    fields = {"login": "x", "password": "y", "csrfmiddlewaretoken": str(token)}
    page = one_line(client.post("/accounts/login/", fields, headers={"origin": ORIGIN}))
    assert "HILUM_TRUSTED_ORIGINS" in page and "takes itself for" not in page


def test_scripts_of_pages_and_the_api_get_the_same_words_as_json(reader: Client) -> None:
    headers = {"origin": ORIGIN, "accept": "application/json"}
    assert f"came from {ORIGIN}" in reader.post("/theme/", headers=headers).json()["error"]
    answer = reader.put("/api/v1/account/keys/", {"keys": {}}, content_type="application/json", headers=headers)
    assert answer.status_code == 403
    assert f"came from {ORIGIN}, which this installation" in answer.json()["detail"]


def test_a_host_that_is_not_allowed_is_no_error_of_its_own() -> None:
    request = RequestFactory().post("/", headers={"host": "evil.example", "origin": ORIGIN})
    assert ORIGIN in why(request, "Origin checking failed - x does not match any trusted origins.")
