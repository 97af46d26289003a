"""The way to a provider and back in a real browser, past the policy of contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from tests.browser.axe import serious_findings
from tests.portal.people import identity_provider, saml_identity_provider

pytestmark = [pytest.mark.django_db(transaction=True)]


def test_a_person_logs_in_through_the_provider(page: Page, live_server: Any, data_dir: Any, settings: Any) -> None:
    with identity_provider.running() as provider:
        settings.SOCIALACCOUNT_PROVIDERS = identity_provider.settings_for(provider)
        page.goto(f"{live_server.url}/queues/")
        assert serious_findings(page) == []
        page.get_by_role("link", name="Log in with Ward log-in").click()
        expect(page.get_by_text("not a member of any site yet")).to_be_visible()
        assert page.url == f"{live_server.url}/queues/"


def test_the_page_of_a_saml_provider_posts_from_another_site(
    page: Page, live_server: Any, data_dir: Any, settings: Any, tmp_path: Path
) -> None:
    """Hilum is at localhost and the provider at 127.0.0.1: for the browser two sites, so that the cookie of Hilum's
    session does not come with the post."""
    with saml_identity_provider.running() as provider:
        settings.SOCIALACCOUNT_PROVIDERS = saml_identity_provider.settings_for(provider)
        host = live_server.url.removeprefix("http://")
        assert host.startswith("localhost") and provider.address.startswith("http://127.0.0.1")
        provider.learn(
            Client(SERVER_NAME="localhost", HTTP_HOST=host).get("/accounts/saml/metadata/").content, tmp_path
        )
        posts = []
        page.on("request", lambda request: posts.append(request.all_headers()) if request.method == "POST" else None)
        page.goto(f"{live_server.url}/queues/")
        page.get_by_role("link", name="Log in with Ward log-in").click()
        expect(page.get_by_text("not a member of any site yet")).to_be_visible()
        assert page.url == f"{live_server.url}/queues/"
        (post,) = posts
        assert (post["origin"], post.get("cookie")) == (provider.address, None)
