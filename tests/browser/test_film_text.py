"""A curator decides by keyboard and mouse on films that may show text, and looks at an import's de-identification."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from portal.imaging.handled_elements import HANDLED, ElementOutcome, HandledElement, to_text
from portal.intake.deidentified_batch import DeidentifiedBatch
from portal.intake.table_columns import ColumnFate, TableFate
from portal.intake.text_looks import film_of, look_for_text
from portal.models import Dataset, Image, TextDecision, Upload, User
from tests.browser.axe import serious_findings
from tests.portal import factories
from tests.portal.texted import film_with_text

pytestmark = [pytest.mark.django_db(transaction=True)]
PICTURES = os.environ.get("HILUM_TEST_PICTURES", "")  # a folder for pictures of the pages


@pytest.fixture
def kim(data_dir: Path) -> User:
    return factories.curator("kim")


@pytest.fixture
def films(kim: User) -> list[Image]:
    of = factories.dataset("Films")
    made = [film_with_text(of, seed=seed) for seed in (1, 2, 3)]
    look_for_text(of)
    return made


def ready(page: Page, film: Image) -> None:
    expect(page).to_have_url(re.compile(f"/images/{film.uuid}/text/"))
    expect(page.locator("#text-review")).to_have_attribute("data-state", "ready")


def pictured(page: Page, name: str) -> None:
    """Pictures of the page at three widths, for people to look at."""
    if not PICTURES:
        return
    for width in (1440, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
            page.screenshot(path=f"{PICTURES}/{name}-{width}-{theme}.png", animations="disabled")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_text_is_found_and_decided_on(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, films: list[Image]
) -> None:
    one, two, three = films
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{one.dataset.uuid}/")
    page.get_by_role("link", name="Text on films").click()
    expect(page.get_by_text("3 of 3 films looked at")).to_be_visible()
    assert serious_findings(page) == []
    pictured(page, "text-list")
    page.get_by_role("link", name="Decide on the first").click()
    ready(page, one)
    expect(page.locator(".hv-own")).to_have_count(1)
    assert serious_findings(page) == []
    pictured(page, "text-film")
    page.keyboard.press("1")
    ready(page, two)
    page.keyboard.press("2")
    expect(page.locator("#warning")).to_contain_text("Press once more")
    assert not TextDecision.objects.filter(image=two).exists()
    page.keyboard.press("2")
    ready(page, three)
    two.refresh_from_db()
    assert two.pixel_sha256 == TextDecision.objects.get(image=two).pixels_after
    assert not film_of(two).stored[70:80, 50:250].any()
    page.keyboard.press("3")
    expect(page.get_by_text("No film is left to look at.")).to_be_visible()
    verdicts = dict(TextDecision.objects.values_list("image", "verdict"))
    assert verdicts == {one.pk: "no text", two.pk: "blacked out", three.pk: "excluded"}
    page.get_by_role("link", name="Decided 3").click()
    expect(page.locator(".hilum-tile")).to_have_count(3)


def test_a_box_is_drawn_with_the_mouse(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, films: list[Image]
) -> None:
    film = films[0]
    sign_in(kim)
    page.goto(f"{live_server.url}/images/{film.uuid}/text/")
    ready(page, film)
    for written in (".hv-corner", ".hv-side", ".hv-scale"):  # where burned-in text is
        assert [one.is_visible() for one in page.locator(written).all()].count(True) == 0
    own = page.locator(".hv-own")
    own.first.focus()
    page.keyboard.press("Delete")
    expect(own).to_have_count(0)
    black_out = page.locator('button[value="blacked out"]')
    expect(black_out).to_be_disabled()
    page.keyboard.press("Shift+B")
    canvas = page.locator("[data-hilum-viewer] canvas:visible").bounding_box()
    assert canvas is not None
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    page.mouse.move(x - 60, y - 30)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30)
    page.mouse.up()
    expect(own).to_have_count(1)
    expect(black_out).to_be_enabled()
    before = film_of(film).stored
    black_out.click()
    expect(page.locator("#warning")).to_contain_text("Press once more")
    black_out.click()
    ready(page, films[1])
    film.refresh_from_db()
    (box,) = TextDecision.objects.get(image=film).boxes
    after = film_of(film).stored
    inside = np.zeros(after.shape, dtype=bool)
    inside[box["y"] : box["y"] + box["height"], box["x"] : box["x"] + box["width"]] = True
    assert not after[inside].any()
    assert np.array_equal(after[~inside], before[~inside])


def test_what_a_black_out_refuses_is_said(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, films: list[Image]
) -> None:
    film = films[0]
    sign_in(kim)
    page.goto(f"{live_server.url}/images/{film.uuid}/text/")
    ready(page, film)
    page.locator('input[name="pixels"]').evaluate("field => (field.value = 'another')")
    page.keyboard.press("1")
    expect(page.get_by_role("alert")).to_contain_text("The film has other pixels than you saw")
    pictured(page, "text-film-error")
    assert not TextDecision.objects.exists()


def test_the_page_of_an_import_says_what_became_of_its_elements(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User
) -> None:
    columns = (
        ColumnFate("filename", ElementOutcome.KEPT, "name of the film's file"),
        ColumnFate("patient_id", ElementOutcome.REPLACED, "patient, as a keyed hash"),
        ColumnFate("surname", ElementOutcome.REMOVED, "may identify a person, by its name"),
    )
    batch = DeidentifiedBatch(tables=[TableFate("labels.csv", columns)])
    elements = [
        HandledElement("(0010,0010)", "PatientName", ElementOutcome.REMOVED),
        HandledElement("(0010,0010)", "PatientName", ElementOutcome.REMOVED, is_nested=True),
        HandledElement("(0019,xxxx)", "private", ElementOutcome.REMOVED),
        HandledElement("(0010,0020)", "PatientID", ElementOutcome.REPLACED),
        HandledElement("(0010,1010)", "PatientAge", ElementOutcome.CLEANED),
        HandledElement("(0028,0010)", "Rows", ElementOutcome.KEPT),
    ]
    for _ in range(12):
        batch.add({HANDLED: to_text(elements)}, "dicom")
    of: Dataset = factories.dataset("Films")
    upload = Upload.objects.create(dataset=of, state="done", deidentification=batch.to_json())
    Upload.objects.create(dataset=of, state="done")
    sign_in(kim)
    page.goto(f"{live_server.url}/uploads/{upload.uuid}/deidentification/")
    expect(page.get_by_text("Removed: 3 elements")).to_be_visible()
    page.get_by_text("Removed: 3 elements").click()
    expect(page.get_by_text("in sequences").first).to_be_visible()
    assert serious_findings(page) == []
    pictured(page, "deidentification")
    with page.expect_download() as got:
        page.get_by_role("link", name="CSV").click()
    assert "PatientName" in got.value.path().read_text()
