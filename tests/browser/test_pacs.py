"""The page of a PACS in a real browser: searched, chosen, imported; it fits every width, in both themes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import Dataset, Role, Upload, User
from tests.browser.axe import serious_findings
from tests.portal import factories
from tests.portal.dicomweb.conftest import study_film
from tests.portal.dicomweb.pacs import Pacs, running_pacs

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pacs]:
    folder = tmp_path_factory.mktemp("films")
    with running_pacs() as pacs:
        pacs.store(*[study_film(folder, number, PatientName=None) for number in (1, 2, 3)])
        yield pacs


def test_studies_are_searched_chosen_and_imported(
    page: Page,
    live_server: Any,
    sign_in: Any,
    data_dir: Any,
    ward: Pacs,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.PACS_TARGETS = (ward.target,)
    published: list[str] = []  # no worker imports them
    monkeypatch.setattr("portal.intake.zip_uploads.publish", lambda upload: published.append(str(upload.uuid)))
    kim = factories.user("kim", Role.CURATOR, at=factories.site())
    of = factories.dataset("Chests")
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{of.uuid}/")
    page.get_by_role("link", name="From a PACS").click()
    _search(page, "2026-11-12", "2026-11-13")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_text("Quagga-3")).to_be_visible()
    for theme in ("light", "dark"):
        User.objects.filter(pk=kim.pk).update(theme=theme)
        for width in (1440, 768, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"{live_server.url}/datasets/{of.uuid}/pacs/")
            _search(page, "2026-11-11", "2026-11-13")
            expect(page.locator("tbody tr")).to_have_count(3)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert serious_findings(page) == []
    page.get_by_role("checkbox").first.uncheck()
    page.get_by_role("button", name="Import the chosen studies").click()
    page.wait_for_url(f"**/datasets/{of.uuid}/")
    assert published == [str(Upload.objects.get().uuid)]
    assert Dataset.objects.get().uploads.get().state == "received"


def _search(page: Page, first: str, last: str) -> None:
    page.get_by_label("First day").fill(first)
    page.get_by_label("Last day").fill(last)
    page.get_by_role("button", name="Search", exact=True).click()
