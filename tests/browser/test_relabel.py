"""A selection of the grid is relabelled by keyboard alone: chosen, previewed, confirmed, undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import CurrentLabel, Dataset, Image, LabelEvent, NormalCriteria, User
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

BOX = {"x": 2.0, "y": 3.0, "width": 5.0, "height": 6.0, "finding": "nodule"}


GONE = (
    "On 1 film parts of the earlier label no longer count: the finding nodule (1 film); 1 box (1 film). "
    "Undo brings them back."
)


@pytest.fixture
def kim() -> User:
    return factories.curator("kim")


@pytest.fixture
def films(data_dir: Any) -> list[Image]:
    """Four normal films, and two abnormal ones with a finding and a box."""
    of: Dataset = factories.dataset()
    of.site.findings = ["nodule", "effusion"]
    of.site.save()
    films = factories.films(of, normal=4, unlabelled=2)
    for film in films[4:]:
        factories.event(film, "abnormal", findings=["nodule"], boxes=[BOX])
    return films


@pytest.fixture
def grid(page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, films: list[Image]) -> Page:
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{films[0].dataset.uuid}/")
    expect(page.locator("#grid")).to_have_attribute("data-keys", "ready")
    return page


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def choice(page: Page, value: str) -> Any:
    return page.locator(f"#relabel [name=value][value={value}]")


def values() -> list[str]:
    return list(CurrentLabel.objects.order_by("image").values_list("value", flat=True))


def test_a_selection_is_previewed_relabelled_and_undone_by_keyboard(grid: Page, films: list[Image]) -> None:
    criteria: NormalCriteria = factories.criteria("No nodule.")
    press(grid, "ArrowRight", "Space", *["ArrowRight"] * 4, "Space", "Shift+R")
    grid.wait_for_url("**/relabel/")
    expect(grid.get_by_label("The 2 chosen films")).to_be_checked()
    expect(choice(grid, "normal")).to_be_focused()
    expect(grid.get_by_label("device")).to_be_hidden()
    press(grid, "Space")
    expect(choice(grid, "normal")).to_be_checked()
    grid.get_by_label("device").focus()  # shown for normal films only
    press(grid, "Space", "Enter")

    expect(grid.locator("#preview-head")).to_be_focused()
    expect(grid.locator("#preview-head")).to_have_text("Preview: 2 films labelled normal")
    lines = grid.locator("#preview ul li").all_inner_texts()
    assert lines == [
        "1 film changes from abnormal to normal.",
        "1 film is normal already and stays so.",
        "Each label has the attribute device.",
        GONE,
        "The labels name the criteria v1.",
    ]
    assert serious_findings(grid) == []
    assert values() == ["normal"] * 4 + ["abnormal"] * 2  # nothing is saved yet

    press(grid, "Tab", "Enter")
    grid.wait_for_url("**/relabel/*-*/")
    expect(grid.locator("main")).to_contain_text("You labelled 2 films normal")
    assert serious_findings(grid) == []
    assert values() == ["normal"] * 5 + ["abnormal"]
    events = LabelEvent.objects.filter(author__isnull=False)
    assert {(event.criteria, tuple(event.attributes), len(event.boxes)) for event in events} == {
        (criteria, ("device",), 0)
    }
    grid.get_by_role("button", name="Undo all 2").focus()
    press(grid, "Enter")
    expect(grid.locator("main")).to_contain_text("The act is undone: the former labels count again.")
    assert values() == ["normal"] * 4 + ["abnormal"] * 2
    assert CurrentLabel.objects.get(image=films[4]).findings == ["nodule"]


def test_enter_on_a_chosen_film_does_not_leave_the_grid(grid: Page) -> None:
    grid.locator(".hilum-tile input").first.click()
    press(grid, "Enter", "Shift+A")
    expect(grid.locator("#chosen")).to_have_text("6 chosen")


def test_without_a_selection_all_films_of_the_filter_are_offered(grid: Page, films: list[Image]) -> None:
    grid.goto(f"{grid.url}?label=abnormal")
    expect(grid.locator("#grid")).to_have_attribute("data-keys", "ready")
    press(grid, "Shift+R")
    grid.wait_for_url("**/relabel/?label=abnormal")
    expect(grid.get_by_label("All 2 films that match: abnormal")).to_be_checked()
    choice(grid, "abnormal").check()
    grid.get_by_role("button", name="Preview").click()
    expect(grid.locator("#preview")).to_contain_text(
        "2 films are abnormal already and stay so, and keep their findings and boxes."
    )
    factories.event(films[4], "exclude", factories.curator("lee"))
    grid.get_by_role("button", name="Label 2 films abnormal").click()
    expect(grid.get_by_role("status").first).to_contain_text("1 film was left aside and not changed")
    expect(grid.locator("main")).to_contain_text("You labelled 1 film abnormal")
    assert values() == ["normal"] * 4 + ["exclude", "abnormal"]
    assert LabelEvent.objects.get(author__username="kim").boxes == [BOX]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_form_has_no_serious_fault_in_either_theme(grid: Page, films: list[Image], kim: User, theme: str) -> None:
    kim.theme = theme
    kim.save()
    grid.goto(f"{grid.url}relabel/")
    choice(grid, "normal").check()
    assert serious_findings(grid) == []
    assert grid.evaluate("document.documentElement.scrollWidth <= innerWidth")
