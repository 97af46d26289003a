"""Finding films in a real browser: a shared view, tags with undo, the kept place, the size of films, and the search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.grid.tags import tags_by_film
from portal.models import Cohort, Dataset, FilmView, Image, Role, User
from portal.sets.cohorts import images_of
from tests.browser.axe import serious_findings
from tests.browser.test_queue import end_session, log_in_again
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def of(data_dir: Path) -> Dataset:
    of = factories.dataset()
    factories.films(of, normal=8, abnormal=6)
    return of


@pytest.fixture
def open_grid(page: Page, live_server: Any, of: Dataset, sign_in: Callable[[Any], None]) -> Callable[..., Page]:
    def as_person(person: User, query: str = "") -> Page:
        sign_in(person)
        page.goto(f"{live_server.url}/datasets/{of.uuid}/{query}")
        expect(page.locator("#grid")).to_have_attribute("data-keys", "ready")
        expect(page.locator("#chosen-films")).to_have_attribute("data-ready", "1")
        return page

    return as_person


def test_a_view_that_one_member_shares_is_used_by_another(open_grid: Callable[..., Page]) -> None:
    page = open_grid(factories.curator("kim"), "?label=abnormal&sort=-imported")
    page.get_by_text("Save this view").click()
    page.get_by_label("Name of the view").fill("Newest abnormal")
    page.get_by_label("Share with Seoul").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("“Newest abnormal” is saved and shared with the site.")
    page = open_grid(factories.user("ben", Role.READER), "?label=")
    expect(page.locator(".hilum-tile")).to_have_count(14)
    page.get_by_role("link", name="Newest abnormal").click()
    expect(page.locator(".hilum-tile")).to_have_count(6)
    newest = Image.objects.filter(current_label__value="abnormal").order_by("-pk")
    shown = page.locator(".hilum-tile").evaluate_all("tiles => tiles.map((tile) => tile.dataset.image)")
    assert shown == [str(film.uuid) for film in newest]
    page.get_by_role("link", name="Manage views").click()
    page.get_by_role("button", name="with Newest abnormal").click()
    expect(page.get_by_role("status").first).to_contain_text("Normals opens with the view “Newest abnormal” for you.")
    assert serious_findings(page) == []
    page = open_grid(User.objects.get(username="ben"))
    expect(page.locator(".hilum-tile")).to_have_count(6)
    assert FilmView.objects.get().owner.username == "kim"


def test_tags_are_put_on_many_films_and_undone(open_grid: Callable[..., Page], of: Dataset) -> None:
    page = open_grid(factories.curator("kim"))
    films = list(of.images.order_by("pk"))
    for number in (0, 3):
        page.locator(".hilum-tile input").nth(number).check()
    expect(page.locator("[data-films]").first).to_have_text("2 chosen films")
    page.locator("body").press("Shift+T")
    page.get_by_label("Tag", exact=True).and_(page.locator("input")).fill("For teaching")
    page.get_by_role("button", name="Put on 2 chosen films").click()
    expect(page.locator("#tagged")).to_have_text("Tagged: 2 films “for teaching”.")
    expect(page.locator(".hilum-tile .hilum-tag")).to_have_count(2)
    assert tags_by_film(films) == {films[0].pk: ["for teaching"], films[3].pk: ["for teaching"]}
    end_session(page)
    page.get_by_role("button", name="Undo the tags").click()
    log_in_again(page)
    expect(page.locator("#tagged")).to_have_text("Undone. Taken off: “for teaching” from 2 films.")
    expect(page.locator(".hilum-tile .hilum-tag")).to_have_count(0)
    assert tags_by_film(films) == {}
    page.get_by_label("Tag", exact=True).and_(page.locator("input")).fill("case 123456")
    page.get_by_role("button", name="Put on 2 chosen films").click()
    expect(page.locator("#tagged")).to_contain_text("No tag was changed. A tag may hold at most 4 digits")
    assert serious_findings(page) == []


def test_the_chosen_films_become_a_cohort(open_grid: Callable[..., Page], of: Dataset) -> None:
    page = open_grid(factories.curator("kim"), "?label=normal")
    films = list(of.images.order_by("pk"))
    page.locator(".hilum-tile input").nth(1).check()
    page.locator(".hilum-tile input").nth(3).click(modifiers=["Shift"])
    page.get_by_text("Freeze these films as a cohort").click()
    page.locator("[action*=freeze] input[name=name]").fill("mine")
    questions: list[str] = []
    page.on("dialog", lambda dialog: (questions.append(dialog.message), dialog.accept()))
    page.get_by_role("button", name="Freeze 3 chosen films").click()
    page.wait_for_url("**/cohorts/**")
    assert questions == ["Freeze 3 chosen films? A cohort never changes."]
    assert list(images_of(Cohort.objects.get()).order_by("pk")) == films[1:4]


def test_back_from_a_film_the_grid_is_where_it_was_left(open_grid: Callable[..., Page], page: Page) -> None:
    page.set_viewport_size({"width": 700, "height": 500})
    page = open_grid(factories.curator("kim"), "?sort=-imported")
    for number in (0, 2):
        page.locator(".hilum-tile input").nth(number).check()
    grid, address = page.url, page.locator(".hilum-tile").nth(9).get_attribute("data-image")
    left = open_tenth_film(page)
    expect(page.locator("a[data-grid]")).to_have_attribute("href", f"{grid[grid.index('/datasets') :]}#left-{address}")
    page.locator("a[data-grid]").click()
    page.wait_for_url("**/datasets/**")
    expect(page.locator("#grid")).to_have_attribute("data-keys", "ready")
    expect(page.locator("[data-films]").first).to_have_text("2 chosen films")
    expect(page.locator(".hilum-tile a").nth(9)).to_be_focused()
    page.wait_for_function("left => scrollY === left", arg=left)
    left = open_tenth_film(page)
    page.go_back()
    expect(page.locator("#grid")).to_have_attribute("data-keys", "ready")
    expect(page.locator("[data-films]").first).to_have_text("2 chosen films")
    page.wait_for_function("left => scrollY === left", arg=left)


def open_tenth_film(page: Page) -> int:
    """Returns how far the grid was scrolled when it was left: the click may scroll it."""
    page.locator(".hilum-tile a").nth(9).click()
    page.wait_for_url("**/images/**")
    left: int = page.evaluate("JSON.parse(sessionStorage.getItem('hilum-place')).scroll")
    assert left > 100
    return left


def test_films_are_sized_by_keys_and_stay_so(open_grid: Callable[..., Page]) -> None:
    kim = factories.curator("kim")
    page = open_grid(kim)
    width = page.locator(".hilum-tile").first.bounding_box()["width"]  # type: ignore[index]
    page.locator("body").press("+")
    page.locator("body").press("+")
    expect(page.locator("#grid")).to_have_class("hilum-grid is-tile-320")
    expect(page.locator(".hilum-zoom")).to_have_attribute("data-state", "kept")
    assert page.locator(".hilum-tile").first.bounding_box()["width"] > width * 1.5  # type: ignore[index]
    page.locator("body").press("-")
    expect(page.locator("#grid")).to_have_class("hilum-grid is-tile-224")
    expect(page.locator(".hilum-zoom")).to_have_attribute("data-state", "kept")
    assert User.objects.get(pk=kim.pk).tile_width == 224
    page = open_grid(kim)
    expect(page.get_by_role("slider", name="Size of the films")).to_have_value("3")


def test_a_size_is_kept_by_who_leaves_at_once(open_grid: Callable[..., Page]) -> None:
    page = open_grid(factories.curator("kim"))
    page.locator("body").press("+")
    page.locator(".hilum-tile a").first.click()
    page.wait_for_url("**/images/**")
    assert any(size_when_back(page) == "3" for _ in range(10))  # the next page may be faster than the size


def size_when_back(page: Page) -> str:
    page.go_back()
    page.reload()
    value = page.get_by_role("slider", name="Size of the films").input_value()
    page.locator(".hilum-tile a").first.click()
    page.wait_for_url("**/images/**")
    return value


def test_a_slash_leads_to_the_search(open_grid: Callable[..., Page]) -> None:
    page = open_grid(factories.curator("kim"))
    page.locator("body").press("/")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    page.keyboard.type("norm")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Normals").click()
    page.wait_for_url("**/datasets/**")
