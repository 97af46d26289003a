"""The way to a provider and back in a real browser, past the policy of contents."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import serious_findings
from tests.portal.people import identity_provider

pytestmark = [pytest.mark.django_db(transaction=True)]


def test_a_person_logs_in_through_the_provider(page: Page, live_server: Any, data_dir: Any, settings: Any) -> None:
    with identity_provider.running() as provider:
        settings.SOCIALACCOUNT_PROVIDERS = identity_provider.settings_for(provider)
        page.goto(f"{live_server.url}/queues/")
        assert serious_findings(page) == []
        page.get_by_role("link", name="Log in with Ward log-in").click()
        expect(page.get_by_text("not a member of any site yet")).to_be_visible()
        assert page.url == f"{live_server.url}/queues/"
