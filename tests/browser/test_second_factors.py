"""Second factors in a real browser: an app with real codes, and a key that Chromium plays."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Page, expect

from portal.models import AuditEvent, Role
from tests.browser.axe import serious_findings
from tests.portal import factories
from tests.portal.people.one_time import code_of

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _no_counts() -> None:
    cache.clear()


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/accounts/login/")
    page.get_by_label("User name").fill("mina")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()


def confirm(page: Page) -> None:
    page.get_by_label("Your password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Go on").click()


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_a_manager_is_asked_for_an_app_sets_it_up_and_logs_in_with_its_code(
    page: Page, live_server: Any, data_dir: Any, settings: Any
) -> None:
    settings.SECOND_FACTOR = "managers"
    factories.user("mina", Role.MANAGER)
    log_in(page, live_server.url)
    expect(page.get_by_role("alert")).to_contain_text("asks you for a second factor")
    assert serious_findings(page) == []
    page.get_by_role("link", name="Set up an app").click()
    confirm(page)
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert page.get_by_role("img", name="QR code").evaluate("image => image.naturalWidth > 50")
    page.get_by_text("Or type the key into the app").click()
    secret = page.locator("#totp-secret").inner_text()
    assert serious_findings(page) == []
    page.get_by_label("Code of six digits").fill(code_of(secret))
    page.get_by_role("button", name="Set it up").click()
    expect(page.get_by_role("list", name="Recovery codes").get_by_role("listitem")).to_have_count(10)
    recovery = page.get_by_role("list", name="Recovery codes").get_by_role("listitem").first.inner_text()
    page.get_by_role("link", name="I have kept them").click()
    log_out(page)
    log_in(page, live_server.url)
    assert serious_findings(page) == []
    page.get_by_label("Code of your authenticator app").fill(recovery)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()


def test_a_security_key_is_added_and_asked_for(page: Page, live_server: Any, data_dir: Any) -> None:
    keys = page.context.new_cdp_session(page)
    keys.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    keys.send("WebAuthn.addVirtualAuthenticator", {"options": options | {"automaticPresenceSimulation": True}})
    factories.user("mina", Role.MANAGER)
    log_in(page, live_server.url)
    page.goto(f"{live_server.url}/accounts/second-factor/")
    page.get_by_role("link", name="Add a key").click()
    confirm(page)
    page.get_by_label("Name of the key").fill("blue key")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("list", name="Recovery codes").get_by_role("listitem")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("blue key")).to_be_visible()
    log_out(page)
    log_in(page, live_server.url)
    page.get_by_role("button", name="Use a security key").click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    assert AuditEvent.objects.filter(verb="log in").latest("pk").after == {"by": ["password", "mfa"]}
    page.goto(f"{live_server.url}/accounts/second-factor/")
    page.get_by_role("link", name="Remove blue key").click()
    confirm(page)
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("The key is removed.")).to_be_visible()
