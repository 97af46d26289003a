"""Earlier films of the patient beside the film: on the reading page of a blinded reader, and on a film's page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from analysis.models import Worklist
from analysis.reading.worklists import begin, in_order
from portal.models import Image, Role, User
from tests.analysis.scored import scored_run
from tests.analysis.worklists import worklist
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

DAY = date(2015, 6, 1)


@pytest.fixture
def maria(data_dir: Any) -> User:
    return factories.user("maria", Role.READER, Role.CURATOR)


@pytest.fixture
def blinded(maria: User) -> Worklist:
    analyst = factories.user("analyst", Role.ANALYST)
    scored = scored_run(factories.site(), author=analyst, facts=({"acquired_day": DAY},) * 24)
    return worklist(scored, analyst, blinded=True)


def prior_of(film: Image, day: date | None, name: str) -> Image:
    """A film of the same patient, in a dataset and a file whose names tell what is on it."""
    pixels = factories.film(film.dataset)  # of another patient
    prior = Image.objects.create(
        dataset=factories.dataset(f"Zebras {name}", at=film.dataset.site),
        patient=film.patient,
        acquired_day=day,
        original_name=f"zebra {name}",
        view_position="AP",
        **{name: getattr(pixels, name) for name in ("source_sha256", "pixel_sha256", "rows", "columns", "facts")},
    )
    factories.event(prior, "abnormal", findings=["zebra"])
    return prior


def other_film(page: Page) -> Any:
    return page.locator(".hv-beside canvas").first


def test_a_blinded_reader_sees_earlier_films_and_nothing_about_them(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], maria: User, blinded: Worklist
) -> None:
    first = in_order(begin(worklist=blinded, reader=maria))[0].image
    oldest, last = prior_of(first, date(2010, 6, 1), "one"), prior_of(first, date(2014, 4, 15), "two")
    prior_of(first, None, "three")
    given: list[tuple[str, str]] = []
    sign_in(maria)

    def keep(route: Route) -> None:
        """Send the response on, and keep its headers and text: the browser drops the bodies of earlier pages."""
        response = route.fetch(max_redirects=0)
        given.append((response.url, f"{response.headers}\n{response.body().decode(errors='replace')}"))
        route.fulfill(response=response)

    page.route("**/*", keep)
    page.goto(f"{live_server.url}/reading/{blinded.uuid}/")
    expect(page.locator("#reading")).to_have_attribute("data-state", "ready")
    expect(page.locator("button[data-action=beside]")).to_be_visible()
    film = page.locator("canvas.hv-canvas").first
    room = film.bounding_box()
    assert page.locator(".hv-beside").count() == 0  # until it is asked for, the film has all the room

    page.keyboard.press("y")
    choice = page.get_by_label("Film beside").first
    expect(choice).to_have_value(str(last.uuid))
    expect(choice.locator("option")).to_have_text(
        ["1 of 3: AP, 1,826 days before", "2 of 3: AP, 412 days before", "3 of 3: AP"]
    )
    expect(page.get_by_text("Oldest to newest; 1 film without a date is last.")).to_be_visible()
    expect(other_film(page)).to_have_attribute("aria-label", "2 of 3: AP, 412 days before")
    for _ in range(2):
        page.keyboard.press("Shift+Y")
    expect(other_film(page)).to_have_attribute("aria-label", "1 of 3: AP, 1,826 days before")
    shown = page.locator("[data-hilum-viewer]").evaluate("(host) => host.hilumViewer.state.beside.image")
    assert shown == str(oldest.uuid)
    beside = film.bounding_box()
    assert room
    assert beside
    assert (beside["y"], beside["height"]) == (room["y"], room["height"])
    assert serious_findings(page) == []
    page.keyboard.press("y")
    expect(page.locator(".hv-beside")).to_be_hidden()
    has_room = (
        "([film, width]) => film.getBoundingClientRect().width === width"  # the viewer measures it once it was drawn
    )
    page.wait_for_function(has_room, arg=[film.element_handle(), room["width"]])
    assert film.bounding_box() == room

    page.keyboard.press("a")  # the keys of reading still are
    expect(page.locator("[data-verdict=normal]")).to_have_attribute("aria-pressed", "true")
    assert any(str(last.uuid) in url for url, _ in given), [url for url, _ in given if "static" not in url]
    for url, text in given:
        assert "zebra" not in text.lower(), url
    assert "zebra" not in page.content().lower()


def test_the_films_of_a_patient_are_ordered_on_the_page_of_a_film(
    page: Page, live_server: Any, sign_in: Callable[[Any], None], maria: User
) -> None:
    film = factories.film(factories.dataset(), "normal", acquired_day=DAY)
    prior, undated = prior_of(film, date(2014, 4, 15), "one"), prior_of(film, None, "two")
    sign_in(maria)
    page.goto(f"{live_server.url}/images/{film.uuid}/")
    expect(page.locator(".hilum-strip li")).to_have_text([re.compile("412 days before"), ""])
    links = [link.get_attribute("href") for link in page.locator(".hilum-strip a").all()]
    assert links == [f"/images/{prior.uuid}/", f"/images/{undated.uuid}/"]
    expect(page.locator("button[data-action=beside]")).to_be_visible()
    page.keyboard.press("Shift+Y")
    expect(other_film(page)).to_have_attribute("aria-label", "1 of 2: AP, 412 days before")
    assert serious_findings(page) == []
