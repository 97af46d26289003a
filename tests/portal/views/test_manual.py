"""The documentation as pages of the portal."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from portal.views import manual_pages
from tests.paths import ROOT
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def web(client: Client) -> Client:
    client.force_login(factories.user("nobody"))
    return client


def test_every_page_of_the_documentation_is_listed(web: Client) -> None:
    text = web.get(reverse("portal:manual")).text
    for path in (ROOT / "docs").glob("*.md"):
        assert f'href="{reverse("portal:manual-page", args=[path.stem])}"' in text
    assert text.count("Importing data</a>") == 1
    assert f'href="{reverse("portal:manual")}">Docs</a>' in text  # in the bar


@pytest.mark.parametrize("chapter", sorted(path.stem for path in (ROOT / "docs").glob("*.md")))
def test_the_links_of_a_page_lead_to_what_is_there(web: Client, chapter: str) -> None:
    html = manual_pages.as_html(chapter)
    targets = [target for target in re.findall(r'href="([^"]*)"', html) if not target.startswith("http")]
    for target in targets:
        address, _, place = target.partition("#")
        shown = web.get(address).text if address else html
        assert not place or f'id="{place}"' in shown, target
    for picture in re.findall(r'src="([^"]*)"', html):
        response = web.get(picture)
        assert response.headers["Content-Type"] == "image/png"
        assert b"".join(response.streaming_content)[1:4] == b"PNG"  # type: ignore[attr-defined]


def test_what_is_not_there_is_404(web: Client) -> None:
    assert web.get(reverse("portal:manual-page", args=["nonsense"])).status_code == 404
    for name in ("none.png", "..", "data.md"):
        assert web.get(reverse("portal:manual-image", args=[name])).status_code == 404


def test_a_stranger_is_sent_to_log_in(client: Client) -> None:
    assert "/accounts/login/" in client.get(reverse("portal:manual")).headers["Location"]
