"""The pages that show a film: what they pass to the viewer, and their accessibility."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from portal.models import Role
from tests.analysis.scored import scored_run
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


def open_film(page: Page, address: str) -> None:
    page.goto(address)
    try:
        page.locator("[data-hilum-viewer][data-state=ready]").wait_for()
    except PlaywrightTimeout:
        raise AssertionError(page.locator("[data-hilum-viewer]").inner_text()) from None


def test_axe_finds_what_is_wrong(page: Page) -> None:
    page.set_content("<html><body><img src='data:,'><button></button></body></html>")
    assert {finding.split(":")[0] for finding in serious_findings(page)} >= {"image-alt", "button-name"}


def test_a_film_s_page(page: Page, live_server: Any, data_dir: Path, sign_in: Any) -> None:
    of = factories.dataset()
    film = factories.film(of, person="one", header={"patient_orientation": "L\\F"})
    lateral = factories.film(of, person="one", view="LL")
    sign_in(factories.curator())
    open_film(page, f"{live_server.url}/images/{film.uuid}/")
    assert page.locator(".hv-side").all_inner_texts() == ["R", "L", "", ""]
    page.locator("button[data-action=beside]").click()
    page.get_by_text("Spacing unknown: scaled to the frame.").wait_for()
    host = page.locator("[data-hilum-viewer]")
    assert host.evaluate("(host) => host.hilumViewer.state.beside.image") == str(lateral.uuid)
    assert serious_findings(page) == []
    page.keyboard.press("?")
    listed = page.get_by_role("dialog").locator("kbd").all_inner_texts()
    assert {"A", "S", "D", "G", "Z", "X", "?"} <= set(listed)
    assert serious_findings(page) == []


def test_the_next_two_films_are_fetched_ahead(page: Page, live_server: Any, data_dir: Path, sign_in: Any) -> None:
    of = factories.dataset()
    films = [factories.film(of, person=f"{n}") for n in range(4)]
    sign_in(factories.curator())
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url.removeprefix(live_server.url)))
    with page.expect_response(f"**/images/{films[2].uuid}/pixels"):
        open_film(page, f"{live_server.url}/images/{films[0].uuid}/")
    assert f"/images/{films[1].uuid}/pixels" in requested
    assert not [address for address in requested if str(films[3].uuid) in address and "/pixels" in address]


def test_no_labelling_key_is_a_key_of_the_viewer(page: Page, live_server: Any, data_dir: Path, sign_in: Any) -> None:
    """No key belongs both to the page and to the viewer."""
    film = factories.film(factories.dataset(), person="one")
    sign_in(factories.curator())
    open_film(page, f"{live_server.url}/images/{film.uuid}/")
    label_keys = page.locator("#labelbar [data-key]").evaluate_all("(all) => all.map((button) => button.dataset.key)")
    viewer_keys = page.locator(".hv-toolbar kbd").all_inner_texts()
    assert len(label_keys) == 6
    assert {key.lower() for key in viewer_keys} & set(label_keys) == set()


def test_a_scored_film_s_page(page: Page, live_server: Any, data_dir: Path, sign_in: Any) -> None:
    analyst = factories.user("analyst", Role.ANALYST)
    scored = scored_run(factories.site(), author=analyst)
    sign_in(analyst)
    open_film(page, f"{live_server.url}/results/runs/{scored.run.uuid}/films/{scored.films[0].uuid}/")
    host = page.locator("[data-hilum-viewer]")
    host.evaluate("(host) => host.hilumViewer.editBoxes({ findings: ['Effusion', 'Nodule'] })")
    page.keyboard.press("Shift+M")
    page.keyboard.press("q")
    page.keyboard.press("e")
    page.keyboard.press("Shift+E")
    page.get_by_text("is not in the data folder any more; fit it again.").wait_for()
    page.locator("[data-look=drawn]").select_option("contour")
    page.get_by_label("Scale of this film alone").check()
    assert serious_findings(page) == []
    page.keyboard.press("Shift+O")
    page.wait_for_function("document.fullscreenElement !== null && innerHeight === screen.height")
    film, panels = (page.locator(part).bounding_box() for part in (".hv-film", ".hv-panels"))
    assert film is not None and panels is not None
    assert panels["height"] == pytest.approx(film["height"], abs=1)
    page.keyboard.press("Shift+O")
    page.wait_for_function("document.fullscreenElement === null")
    page.set_viewport_size({"width": 768, "height": 1024})
    assert serious_findings(page) == []
