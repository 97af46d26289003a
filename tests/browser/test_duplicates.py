"""A curator judges by keyboard whether two films are the same, one pair after the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.intake.fingerprints import look_for_near_copies
from portal.models import Dataset, FilmPair, User
from portal.sets.splits import SplitRequest, draw_split
from tests.browser.axe import serious_findings
from tests.portal import factories
from tests.portal.intake.test_fingerprints import phantom, re_export

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def kim(data_dir: Path) -> User:
    return factories.curator("kim")


@pytest.fixture
def of(kim: User) -> Dataset:
    """Two phantom films, each exported a second time as a smaller JPEG into another dataset."""
    of, exports = factories.dataset("Films"), factories.dataset("Exports")
    for seed in (0, 1):
        film = phantom(of, seed, view_position="PA")
        for each in (film, re_export(film, exports)):
            factories.event(each, "normal")
    for seed in range(2, 6):
        factories.event(phantom(of, seed), "normal")
    assert look_for_near_copies(of.site).pairs == 2
    return of


def wait_for_pair(page: Page, pair: FilmPair) -> None:
    expect(page).to_have_url(re.compile(f"/duplicates/{pair.uuid}/"))
    expect(page.locator("#pair")).to_have_attribute("data-state", "ready")
    expect(page.locator("#pair")).to_have_attribute("data-keys", "ready")
    expect(page.locator("#pair canvas:visible")).to_have_count(2)


def test_a_duplicate_is_judged(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset
) -> None:
    first, second = FilmPair.objects.order_by("-correlation", "pk")
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/{of.uuid}/")
    page.get_by_role("link", name="2 possible duplicates").click()
    assert serious_findings(page) == []
    page.get_by_role("link", name="Judge the first of 2").click()
    wait_for_pair(page, first)
    expect(page.locator(".hilum-pair-bar")).to_contain_text(f"Correlation {first.correlation:.2f} · two patients")
    assert serious_findings(page) == []
    sizes = page.locator("[data-pair-film] canvas").evaluate_all("all => all.map(one => one.clientHeight)")
    assert sizes[0] == sizes[1] > 200
    page.keyboard.press("1")
    wait_for_pair(page, second)  # at once, without the list
    page.keyboard.press("2")
    expect(page.get_by_role("status").filter(has_text="No pair is left to judge.")).to_be_visible()
    verdicts = dict(FilmPair.objects.values_list("pk", "verdict"))
    assert verdicts == {first.pk: "same", second.pk: "different"}
    request = SplitRequest(site=of.site, name="S", datasets=list(Dataset.objects.all()), seed=0, author=kim)
    split = draw_split(request, fractions={"fit": 0.5, "test": 0.5})
    assert split.counts["left_out"] == {"further copy of a film in the split": 1}


def test_a_judgement_is_corrected(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset
) -> None:
    first, second = FilmPair.objects.order_by("-correlation", "pk")
    sign_in(kim)
    page.goto(f"{live_server.url}/duplicates/{first.uuid}/")
    wait_for_pair(page, first)
    page.keyboard.press("Enter")  # judged later
    wait_for_pair(page, second)
    page.keyboard.press("1")
    wait_for_pair(page, first)
    page.keyboard.press("Backspace")
    wait_for_pair(page, second)
    expect(page.locator(".hilum-pair-bar")).to_contain_text("Judged same by kim")
    page.keyboard.press("2")
    wait_for_pair(page, first)
    assert dict(FilmPair.objects.values_list("pk", "verdict")) == {first.pk: "", second.pk: "different"}


def test_the_list_fits_on_a_phone(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset
) -> None:
    sign_in(kim)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/duplicates/")
    expect(page.get_by_text("not yet")).to_have_count(2)
    assert page.locator(".table-responsive").evaluate("box => box.scrollWidth <= box.clientWidth")


def test_films_are_zoomed_together(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User, of: Dataset
) -> None:
    pair = FilmPair.objects.order_by("-correlation", "pk").first()
    assert pair is not None
    sign_in(kim)
    page.goto(f"{live_server.url}/duplicates/{pair.uuid}/")
    wait_for_pair(page, pair)
    views = page.locator("[data-pair-film]")
    before = [view.screenshot() for view in views.all()]
    views.first.hover()
    page.mouse.wheel(0, -400)
    expect(page.locator("#pair")).to_have_attribute("data-zoom", re.compile(r"^[1-9]\d*\.\d\d$"))
    after = [view.screenshot() for view in views.all()]
    assert before[0] != after[0]
    assert before[1] != after[1]
