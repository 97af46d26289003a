"""A table with unknown columns: sent, mapped, counted, imported; the next one needs no page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import CurrentLabel, Upload, User
from tests.browser.axe import serious_findings
from tests.portal import factories
from tests.portal.intake.sent import TABLE, worked_on, zip_of

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def kim(data_dir: Any) -> User:
    return factories.curator("kim")


@pytest.fixture
def dataset_page(page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User) -> Page:
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{factories.dataset().uuid}/")
    return page


def send(page: Page, path: Path, monkeypatch: pytest.MonkeyPatch, *, check: bool = False) -> Upload:
    monkeypatch.setattr("portal.intake.zip_uploads.publish", lambda upload: None)
    expect(page.locator("#sendings")).to_have_attribute("data-ready", "")
    if not page.locator("#id_file").is_visible():
        page.get_by_text("Add films").click()
    page.locator("#id_file").set_input_files(path)
    if check:
        page.get_by_label("Check the columns of the table first").check()
    page.get_by_label("Where table and DICOM header name two patients").select_option("header")
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("Waiting for")).to_be_visible()
    return worked_on(Upload.objects.order_by("pk").last())  # type: ignore[arg-type]


def counted(page: Page, what: str) -> Any:
    """The count, once the form listens to changes again."""
    expect(page.locator(".htmx-request, .htmx-swapping, .htmx-settling")).to_have_count(0)
    return page.locator(f"#counts [data-count='{what}']")


def test_a_mapping(dataset_page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, path = dataset_page, tmp_path / "z.zip"
    zip_of(tmp_path, {"t.csv": TABLE})
    upload = send(page, path, monkeypatch)
    page.get_by_role("link", name="Say what its columns mean").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What the columns of this upload mean")
    expect(page.locator(".hilum-table-preview tbody tr")).to_have_count(4)
    expect(page.get_by_label("File name")).to_have_value("0")
    expect(page.get_by_label("Patient")).to_have_value("2")
    expect(page.get_by_role("alert")).to_contain_text("'Erguss|Knoten' of the column 'Diagnose' has no meaning yet")
    expect(page.get_by_role("button", name="Import like this")).to_be_disabled()
    assert serious_findings(page) == []

    page.get_by_label("Erguss|Knoten").focus()
    page.get_by_label("Erguss|Knoten").select_option("abnormal")
    expect(counted(page, "abnormal")).to_have_text("1")
    expect(page.get_by_label("Erguss|Knoten")).to_be_focused()  # nothing jumps
    expect(counted(page, "abnormal")).to_have_text("1")
    page.get_by_label("Findings").select_option("Diagnose")
    expect(page.get_by_text("2 findings")).to_be_visible()
    page.get_by_label("unklar").select_option("not a label")
    expect(counted(page, "normal")).to_have_text("2")
    expect(counted(page, "without_file")).to_have_text("1")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Import like this").click()
    page.wait_for_url("**/datasets/**")
    assert worked_on(upload).state == "done"
    labels = CurrentLabel.objects.order_by("image__original_name").values_list("value", "findings")
    assert list(labels) == [("normal", []), ("abnormal", ["Erguss", "Knoten"]), ("normal", [])]

    page.reload()
    again = send(page, path, monkeypatch)
    assert (again.state, again.counts["there already"]) == ("done", 3)
    assert again.patients == "header"
    page.reload()
    expect(page.get_by_text("columns of t.csv read as kim said on")).to_be_visible()

    third = send(page, path, monkeypatch, check=True)
    assert third.state == "mapping"
    page.get_by_role("link", name="Say what its columns mean").click()
    expect(page.get_by_text("Filled in as kim said on")).to_be_visible()
    expect(counted(page, "normal")).to_have_text("2")
    expect(page.get_by_label("unklar")).to_have_value("none")
    expect(page.get_by_label("The header of the film")).to_be_checked()


def test_a_mapping_by_keyboard_at_the_width_of_a_phone_and_its_discard(
    dataset_page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = dataset_page
    page.set_viewport_size({"width": 390, "height": 800})
    zip_of(tmp_path, {"t.csv": TABLE})
    upload = send(page, tmp_path / "z.zip", monkeypatch)
    page.get_by_role("link", name="Say what its columns mean").press("Enter")
    page.get_by_label("Erguss|Knoten").focus()
    page.keyboard.type("abn")
    expect(counted(page, "abnormal")).to_have_text("1")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Discard the upload").click()
    expect(page.get_by_text("Discarded by kim; nothing was imported.")).to_be_visible()
    assert Upload.objects.get(pk=upload.pk).state == "discarded"
