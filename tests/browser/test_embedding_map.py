"""A curator chooses films on an embedding map with a lasso, opens them as a queue or excludes them; films like one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from ml_engine.models import Run
from portal.models import Cohort, Dataset, Image, LabelEvent, QueueImage, Role, ScreeningQueue, User
from tests.browser.axe import serious_findings
from tests.ml_engine import embedded
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]
LEFT, RIGHT = 12, 8  # films of the two groups of the map


@pytest.fixture
def kim(data_dir: Path) -> User:
    return factories.curator("kim")


@pytest.fixture
def of(kim: User) -> Dataset:
    of = factories.dataset("Films")
    for k in range(LEFT + RIGHT):
        factories.film(of, "normal" if k % 2 else "", view="PA" if k < LEFT else "LL")
    factories.pair(*Image.objects.order_by("pk")[:2])
    return of


@pytest.fixture
def run(of: Dataset) -> Run:
    """A map with the lateral films in a group of their own, on the right."""
    draws = np.random.default_rng(1)
    places = draws.uniform(-1, 1, size=(LEFT + RIGHT, 2)) + np.repeat([[-4.0, 0], [4.0, 0]], [LEFT, RIGHT], axis=0)
    return embedded.mapped(of, places=places)


def films(view: str) -> set[int]:
    return set(Image.objects.filter(view_position=view).values_list("pk", flat=True))


def open_map(page: Page, live_server: Any, of: Dataset) -> None:
    page.goto(f"{live_server.url}/datasets/{of.uuid}/map/")
    expect(page.locator("#map")).to_have_attribute("data-ready", "yes")


def drag_over_the_right_half(page: Page, *, as_rectangle: bool = False) -> None:
    box = page.locator("#map-canvas").bounding_box()
    assert box is not None
    left, right = box["x"] + box["width"] * 0.55, box["x"] + box["width"] - 4
    top, bottom = box["y"] + 4, box["y"] + box["height"] - 4
    page.mouse.move(left, top)
    page.mouse.down()
    around = [(right, top), (right, bottom), (left, bottom), (left, top + 20)]
    for x, y in [(right, bottom)] if as_rectangle else around:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_a_lasso_is_opened_as_a_queue(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset, run: Run
) -> None:
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{of.uuid}/")
    page.get_by_role("link", name="Map", exact=True).click()
    expect(page.locator("#map")).to_have_attribute("data-ready", "yes")
    expect(page.locator("#map-legend")).to_contain_text("LL")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Lasso").click()
    drag_over_the_right_half(page)
    expect(page.locator("#map-chosen")).to_have_text(f"{RIGHT} films chosen")
    expect(page.locator("#map-previews img")).to_have_count(RIGHT)
    assert serious_findings(page) == []
    page.get_by_role("button", name="Make queue").click()
    page.wait_for_url(re.compile("/queues/"))
    queue = ScreeningQueue.objects.get()
    assert set(QueueImage.objects.filter(queue=queue).values_list("image", flat=True)) == films("LL")
    assert queue.source == f"{RIGHT} films chosen on the map A map"


def test_a_rectangle_is_excluded_with_a_reason_and_taken_back(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset, run: Run
) -> None:
    sign_in(kim)
    open_map(page, live_server, of)
    page.select_option("#map-colour", "label")
    expect(page.locator("#map-legend")).to_contain_text("unlabelled")
    page.get_by_role("button", name="Rectangle").click()
    drag_over_the_right_half(page, as_rectangle=True)
    expect(page.locator("#map-chosen")).to_have_text(f"{RIGHT} films chosen")
    page.get_by_label("Exclude them, because").fill("lateral")
    page.get_by_role("button", name="Exclude", exact=True).click()
    expect(page.locator("#kept")).to_contain_text(f"Saved: {RIGHT} films excluded")
    expect(page.locator("#map-legend")).to_contain_text("exclude")
    events = LabelEvent.objects.filter(value="exclude")
    assert {event.reason for event in events} == {"lateral"}
    assert {event.image_id for event in events} == films("LL")
    page.get_by_role("button", name="Undo the exclusion").click()
    expect(page.locator("#kept")).to_contain_text(f"the exclusion of {RIGHT} films is undone")
    assert not Image.objects.filter(current_label__value="exclude").exists()


def test_the_map_is_used_by_keyboard(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset, run: Run
) -> None:
    sign_in(kim)
    open_map(page, live_server, of)
    page.locator("#map-canvas").focus()
    page.keyboard.press("ArrowRight")
    first = page.evaluate("window.hilumMap.stage.point")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("window.hilumMap.stage.point")
    assert first >= 0 and second >= 0 and first != second
    expect(page.locator("#map-spoken")).to_contain_text("film")
    page.keyboard.press("Space")
    expect(page.locator("#map-chosen")).to_have_text("1 film chosen")
    page.locator("#map-table summary").click()
    expect(page.locator("#map-rows tr")).to_have_count(1)
    page.get_by_label("Freeze them as a cohort").fill("one")
    page.get_by_role("button", name="Freeze").click()
    page.wait_for_url(re.compile("/cohorts/"))
    assert Cohort.objects.get().filters == {"chosen": "1 film chosen on the map A map"}
    open_map(page, live_server, of)
    page.locator("#map-canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/images/"))


def test_the_legend_and_the_filter_by_duplicates_hide_films(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset, run: Run
) -> None:
    sign_in(kim)
    open_map(page, live_server, of)
    page.locator("#map-legend label", has_text="LL").locator("input").uncheck()
    expect(page.locator("#map-count")).to_have_text(f"{LEFT} films shown, {RIGHT} hidden")
    page.get_by_label("Only films of possible duplicates").check()
    expect(page.locator("#map-count")).to_have_text(f"2 films shown, {LEFT + RIGHT - 2} hidden")
    page.get_by_role("button", name="Lasso").click()
    drag_over_the_right_half(page)
    expect(page.locator("#map-chosen")).to_have_text("No film chosen")


@pytest.mark.parametrize("width", [390, 768])
def test_the_map_fits_on_small_screens(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset, run: Run, width: int
) -> None:
    sign_in(kim)
    page.set_viewport_size({"width": width, "height": 844})
    open_map(page, live_server, of)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []


def test_films_like_a_film(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset, run: Run
) -> None:
    sign_in(kim)
    film = Image.objects.order_by("pk").first()
    assert film is not None
    page.goto(f"{live_server.url}/images/{film.uuid}/")
    page.get_by_role("link", name="Films like this one").click()
    expect(page.locator("#near li")).to_have_count(10)
    assert serious_findings(page) == []


def test_without_a_map_the_page_says_how_to_make_one(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset
) -> None:
    ana = factories.user("ana", Role.ANALYST)
    sign_in(ana)
    page.goto(f"{live_server.url}/datasets/{of.uuid}/map/")
    page.get_by_role("link", name="Make a map").click()
    expect(page.get_by_role("heading", name="Embedding map")).to_be_visible()
    assert page.get_by_label("Films", exact=True).is_checked()
    assert serious_findings(page) == []


def test_a_session_that_ended_goes_on_with_the_log_in(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset, run: Run
) -> None:
    sign_in(kim)
    open_map(page, live_server, of)
    page.get_by_role("button", name="Lasso").click()
    drag_over_the_right_half(page)
    page.context.clear_cookies(name="sessionid")
    page.locator("#map-colour").select_option("label")
    dialog = page.get_by_role("dialog", name="Your session has ended")
    dialog.get_by_role("button", name="Later").click()
    ended = "Your session has ended: log in, then try again."
    expect(page.locator("#map-status")).to_have_text(ended)
    expect(page.locator("#map-colour")).to_have_value("view")
    page.locator("#exclude-reason").fill("not a chest film")
    page.get_by_role("button", name="Exclude", exact=True).click()
    expect(dialog.get_by_label("Password")).to_be_focused()
    assert not LabelEvent.objects.filter(value="exclude").exists()
    page.keyboard.type(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#kept")).to_contain_text(f"Saved: {RIGHT} films excluded")
    assert LabelEvent.objects.filter(value="exclude").count() == RIGHT
