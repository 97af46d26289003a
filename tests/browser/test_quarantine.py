"""The page of quarantine in a real browser: narrowed, tried again, deleted, at every width, in both themes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from playwright.sync_api import Page, expect

from portal.models import Dataset, QuarantinedFile, Role, Upload, User
from tests.browser.axe import serious_findings
from tests.portal import factories
from tests.portal.intake.test_films import run

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def kim(live_server: Any) -> User:
    return factories.user("kim", Role.CURATOR, at=factories.site())


@pytest.fixture
def of(kim: User, data_dir: Any, tmp_path: Path) -> Dataset:
    """A colour picture that a table names, a phantom of another modality, and a file that shows nothing."""
    made = factories.dataset("Chests")
    folder = tmp_path / "films"
    folder.mkdir()
    factories.colour_png(folder / "a.png")
    PIL.Image.open(folder / "a.png").resize((300, 400)).save(folder / "a.png")
    run(made, folder, labels=factories.table(folder / "l.csv", {"filename": "a.png", "label": "normal"}))
    (folder / "a.png").unlink()
    (folder / "l.csv").unlink()
    factories.dicom(folder / "b.dcm", Modality="CT")
    (folder / "c.dcm").write_bytes(b"nothing that is a film" * 20)
    run(made, folder)
    Upload.objects.update(uploaded_by=kim)
    return made


def test_files_are_narrowed_tried_again_and_deleted(
    page: Page, live_server: Any, sign_in: Any, kim: User, of: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []  # no worker imports them
    monkeypatch.setattr("portal.intake.zip_uploads.publish", lambda upload: published.append(str(upload.uuid)))
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{of.uuid}/")
    page.get_by_role("link", name="3 in quarantine").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(page.get_by_text("This is CT, not a radiograph")).to_be_visible()
    picture = page.locator("tbody img").first
    picture.scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('tbody img')].every((one) => one.naturalWidth > 0)")
    page.get_by_label("Reason", exact=True).select_option("colour")
    page.get_by_role("button", name="Apply").click()
    expect(rows).to_have_count(1)
    expect(page.get_by_text("a.png")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Delete the chosen").click()
    expect(page.get_by_text("Say why the files are deleted")).to_be_visible()
    page.get_by_role("checkbox").first.check()
    page.get_by_label("Why they are deleted").fill("not of this study")
    page.get_by_role("button", name="Delete the chosen").click()
    expect(page.get_by_text("1 file deleted.")).to_be_visible()
    assert QuarantinedFile.objects.count() == 2
    page.get_by_role("button", name="Try all 2 kept again").click()
    page.wait_for_url(f"**/datasets/{of.uuid}/")
    assert len(published) == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 768, 390])
def test_the_page_is_accessible_and_fits(
    page: Page, live_server: Any, sign_in: Any, kim: User, of: Dataset, theme: str, width: int
) -> None:
    User.objects.filter(pk=kim.pk).update(theme=theme)
    sign_in(kim)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_server.url}/datasets/{of.uuid}/quarantine/")
    expect(page.get_by_role("button", name="Try all 3 kept again")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".table-responsive").evaluate("box => box.scrollWidth <= box.clientWidth")
    page.wait_for_function("() => [...document.querySelectorAll('tbody img')].every((one) => one.naturalWidth > 0)")
    assert serious_findings(page) == []
