"""Every page in a real browser: nothing violates the policy of contents, and it is loose only where figures are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import ConsoleMessage, Page, Response

from portal.models import User
from tests.access import world as worlds
from tests.access.url_table import URLS
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(900)]
NO_PAGES = {
    *("logout", "openid_connect_login", "openid_connect_callback", "readyz", "healthz", "metrics", "schema"),
    *("invitation", "mfa_authenticate"),  # asked by somebody who is not logged in: tests/browser/test_second_factors.py
}
ADMIN = ("admin:index", "admin:portal_image_changelist", "admin:portal_site_add", "admin:portal_auditevent_changelist")


def test_no_page_violates_the_policy_of_contents(page: Page, live_server: Any, data_dir: Path, sign_in: Any) -> None:
    factories.restart_seeds()
    world = worlds.build()
    person = User.objects.get(username="boss")
    person.is_staff = person.is_superuser = True
    person.save()
    sign_in(person)
    violations: dict[str, str] = {}
    at = ""

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            violations.setdefault(at, message.text)

    page.on("console", note)
    opened, loose = 0, set()
    asked = [(name, url.of, url.query(world)) for name, url in URLS.items() if url.method == "get"]
    for name, of, query in [*asked, *((name, (), {}) for name in ADMIN)]:
        if name.startswith("api-") or name in NO_PAGES:
            continue
        arguments = [getattr(world.things[thing], "uuid", world.things[thing]) for thing in of]
        at = name
        response = opened_page(page, live_server.url + reverse(name, args=arguments, query=query))
        if response is None:
            continue
        opened += 1
        if "'unsafe-inline'" in response.headers["content-security-policy"]:
            loose.add(name)
            assert page.locator("script[src*=plotly]").count() == 1, name
    assert violations == {}
    assert opened > 80
    assert len(loose) >= 8


def opened_page(page: Page, address: str) -> Response | None:
    """The answer, if it is a page: files and fragments are asked for without opening them."""
    asked = page.request.get(address, max_redirects=0)
    if "text/html" not in asked.headers.get("content-type", "") or "<!doctype html>" not in asked.text():
        return None
    return page.goto(address, wait_until="load")
