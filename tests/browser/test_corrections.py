"""Corrected exports in a real browser: old beside new, some taken, some dismissed, at every width, in both themes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import Dataset, HeaderDifference, Image, Role, User
from tests.browser.axe import serious_findings
from tests.portal import factories
from tests.portal.corrected import come_again

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def kim(live_server: Any) -> User:
    return factories.user("kim", Role.CURATOR, at=factories.site())


@pytest.fixture
def of(kim: User, data_dir: Any, tmp_path: Path) -> Dataset:
    made = factories.dataset("Chests")
    come_again(
        made, tmp_path, films=2, ViewPosition="AP", PixelSpacing=[0.2, 0.2], PatientID="P-7", WindowCenter="1500",
        AcquisitionDate="20240115",
    )  # fmt: skip
    return made


def test_rows_are_chosen_taken_and_dismissed(
    page: Page, live_server: Any, sign_in: Any, kim: User, of: Dataset
) -> None:
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{of.uuid}/")
    page.get_by_role("link", name="2 with another header").click()
    page.wait_for_url("**/corrections/")
    expect(page.get_by_text("2 films came again with another header")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(10)
    page.get_by_role("link", name="View 2").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    first = Image.objects.earliest("pk")
    page.get_by_label(f"{first.neutral_name}, view").check()
    page.get_by_role("button", name="Take the chosen").click()
    expect(page.get_by_text("New facts of 1 film taken: view 1.")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Dismiss all 1").click()
    expect(page.get_by_text("New facts of 1 film dismissed: view 1.")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(8)
    page.get_by_role("button", name="Take all 8").click()
    expect(page.get_by_text("Nothing waits for a decision")).to_be_visible()
    assert list(Image.objects.order_by("pk").values_list("view_position", flat=True)) == ["AP", "PA"]
    assert Image.objects.values("patient").distinct().count() == 1
    assert not HeaderDifference.objects.filter(state="pending").exists()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 768, 390])
def test_the_page_is_accessible_and_fits(
    page: Page, live_server: Any, sign_in: Any, kim: User, of: Dataset, theme: str, width: int
) -> None:
    User.objects.filter(pk=kim.pk).update(theme=theme)
    sign_in(kim)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_server.url}/datasets/{of.uuid}/corrections/")
    expect(page.get_by_role("button", name="Take all 10")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".table-responsive").evaluate("box => box.scrollWidth <= box.clientWidth")
    assert serious_findings(page) == []
