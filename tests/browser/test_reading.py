"""A clinician reads a worklist by keyboard, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, Request, Route, expect

from analysis.models import Escalation, HeatmapUse, Reading, Worklist, WorklistReader
from analysis.reading import verdicts
from ml_engine.models import Score
from portal.models import Role, User
from tests.analysis.scored import Scored, scored_run
from tests.analysis.worklists import items, read, worklist
from tests.browser.axe import serious_findings
from tests.browser.test_queue import end_session
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

Open = Callable[[], Page]


@pytest.fixture
def scored(live_server: Any, data_dir: Any) -> Scored:
    return scored_run(factories.site(), author=factories.user("analyst", Role.ANALYST))


@pytest.fixture
def of(scored: Scored) -> Worklist:
    """20 films, 7 of them not flagged."""
    made = worklist(scored, User.objects.get(username="analyst"), unflagged_share=0.35)
    assert made.items.count() == 20
    return made


@pytest.fixture
def maria(scored: Scored) -> User:
    return factories.user("maria", Role.READER)


@pytest.fixture
def open_it(page: Page, live_server: Any, of: Worklist, maria: User, sign_in: Any) -> Open:
    def go() -> Page:
        sign_in(maria)
        begin_reading(page, f"{live_server.url}/reading/{of.uuid}/")
        return page

    return go


def begin_reading(page: Page, address: str) -> None:
    """Open the worklist and begin it, unless it is begun already."""
    page.goto(address)
    button = page.get_by_role("button", name="Begin", exact=True)
    if button.count():
        with page.expect_navigation():
            button.click()


def wait_for_film(page: Page, place: int) -> None:
    """Wait until the film at this place is on the screen and ready to be read."""
    expect(page.locator("#reading")).to_have_attribute("data-film", str(place - 1))
    expect(page.locator("#reading")).to_have_attribute("data-state", "ready")
    expect(page.locator("#place")).to_have_text(f"Film {place} of 20")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def wait_until_saved(page: Page) -> None:
    expect(page.locator("#kept")).to_have_text("Saved")


def test_a_session_of_20_films_by_keyboard_with_a_reload_in_the_middle(
    open_it: Open, of: Worklist, maria: User
) -> None:
    page = open_it()
    for place in range(1, 11):
        wait_for_film(page, place)
        press(page, "a", "2") if place % 2 else press(page, "s", "1")
    wait_for_film(page, 11)
    press(page, "d", "c")
    page.keyboard.type("a word on film 11")
    page.reload()
    wait_for_film(page, 11)
    expect(page.locator("[data-verdict=unsure]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#comment")).to_have_value("a word on film 11")
    press(page, "7")
    for place in range(12, 21):
        wait_for_film(page, place)
        press(page, "a", "Enter")
    expect(page.locator("#finished")).to_be_visible()
    wait_until_saved(page)
    expect(page.locator("#place")).to_have_text("20 of 20 read")
    readings = list(Reading.objects.filter(reader=maria).select_related("item").order_by("pk"))
    assert len(readings) == 20
    assert {reading.item_id for reading in readings} == {item.pk for item in items(of)}
    contents = [(reading.verdict, reading.reason, reading.comment) for reading in readings]
    assert contents[:2] == [("normal", "device", ""), ("abnormal", "true finding", "")]
    assert contents[10] == ("unsure", "image quality", "a word on film 11")
    assert contents[11:] == [("normal", "", "")] * 9
    assert all(0 < reading.active_seconds <= reading.total_seconds for reading in readings)


def test_the_last_reading_is_corrected_by_going_back(open_it: Open, maria: User) -> None:
    page = open_it()
    wait_for_film(page, 1)
    press(page, "a", "6")
    wait_for_film(page, 2)
    wait_until_saved(page)
    press(page, "s", "z")  # the draft of film 2 stays
    wait_for_film(page, 1)
    expect(page.locator("[data-verdict=normal]")).to_have_attribute("aria-pressed", "true")
    press(page, "s", "1")
    wait_for_film(page, 2)
    expect(page.locator("[data-verdict=abnormal]")).to_have_attribute("aria-pressed", "true")
    wait_until_saved(page)
    first, second = Reading.objects.filter(reader=maria).order_by("pk")
    assert (second.replaces, second.verdict, first.verdict) == (first, "abnormal", "normal")


def test_going_back_and_on_without_a_change_makes_no_reading(open_it: Open, maria: User) -> None:
    page = open_it()
    wait_for_film(page, 1)
    press(page, "a", "6")
    wait_for_film(page, 2)
    press(page, "z")
    wait_for_film(page, 1)
    press(page, "Enter")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert Reading.objects.filter(reader=maria).count() == 1


def test_an_abnormal_film_waits_for_its_reason(open_it: Open) -> None:
    page = open_it()
    wait_for_film(page, 1)
    press(page, "1")  # without a verdict a reason does nothing
    press(page, "s", "Enter")
    expect(page.locator("#trouble")).to_have_text("An abnormal film needs a reason: press 1 to 8.")
    wait_for_film(page, 1)
    press(page, "a", "1")
    expect(page.locator("#trouble")).to_contain_text("A normal film has no true finding")
    wait_for_film(page, 1)
    assert not Reading.objects.exists()


# The heatmap --------------------------------------------------------------------------------------------


def test_the_heatmap_comes_on_its_key_and_is_recorded(open_it: Open, of: Worklist, maria: User) -> None:
    page = open_it()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    wait_for_film(page, 1)
    press(page, "a", "6")
    wait_for_film(page, 2)
    assert not [url for url in requested if "overlay" in url]
    assert heatmap_is_shown(page) is False
    press(page, "h")
    page.wait_for_function("() => document.querySelector('[data-hilum-viewer]').hilumViewer.state.look !== null")
    expect(page.locator("#heatmap")).to_have_attribute("aria-pressed", "true")
    assert heatmap_is_shown(page) is True
    assert coloured_pixels(page) > 0
    press(page, "h")
    expect(page.locator("#heatmap")).to_have_attribute("aria-pressed", "false")
    assert coloured_pixels(page) == 0
    press(page, "h", "a", "6")
    wait_for_film(page, 3)
    assert heatmap_is_shown(page) is False  # off again for the next film
    wait_until_saved(page)
    assert HeatmapUse.objects.filter(reader=maria).count() == 1
    flags = Reading.objects.order_by("pk").values_list("heatmap_shown", "model_shown")
    assert list(flags) == [(False, True), (True, True)]


def heatmap_is_shown(page: Page) -> bool:
    return page.locator("[data-hilum-viewer]").evaluate("host => host.hilumViewer.heatmapShown")


def coloured_pixels(page: Page) -> int:
    """How many pixels show the colour of a heatmap, with nothing under its threshold left out."""
    page.locator("[data-hilum-viewer]").evaluate(
        """host => {
            const isThreshold = (input) => input.closest('label')?.textContent.includes('Threshold');
            const slider = [...host.querySelectorAll('input[type=range]')].find(isThreshold);
            slider.value = slider.min;
            slider.dispatchEvent(new Event('input', { bubbles: true }));
        }"""
    )
    return page.locator("[data-hilum-viewer]").evaluate(
        """host => {
            const { data } = host.hilumViewer.readCanvas();
            let coloured = 0;
            for (let at = 0; at < data.length; at += 4) if (Math.abs(data[at] - data[at + 2]) > 2) coloured += 1;
            return coloured;
        }"""
    )


def test_a_blinded_page_has_no_heatmap(scored: Scored, page: Page, live_server: Any, maria: User, sign_in: Any) -> None:
    made = worklist(scored, User.objects.get(username="analyst"), name="Blinded", unflagged_share=0.35, blinded=True)
    sign_in(maria)
    begin_reading(page, f"{live_server.url}/reading/{made.uuid}/")
    wait_for_film(page, 1)
    expect(page.get_by_role("button", name="Heatmap")).to_have_count(0)
    press(page, "h", "a", "6")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert not Reading.objects.get().model_shown


def test_the_browser_receives_neither_scores_nor_flags(open_it: Open, of: Worklist, page: Page) -> None:
    """The DOM, the scripts' data, responses, headers and URLs while two films are read."""
    bodies: list[str] = []

    def listen(request: Request) -> None:
        response = request.response()
        is_text = response is not None and "json" in response.headers.get("content-type", "")
        bodies.append(f"{request.url} {response.headers if response else ''} {response.text() if is_text else ''}")

    page.on("requestfinished", listen)
    open_it()
    for place in (1, 2):
        wait_for_film(page, place)
        press(page, "a", "6")
    wait_for_film(page, 3)
    wait_until_saved(page)
    text = page.content() + "\n".join(bodies)
    assert "/readings/" in text
    scores = Score.objects.filter(run=of.run)
    numbers = {
        f"{value:.3f}"[:5] for score in scores for value in (score.fused_score, score.global_score, score.region_score)
    }
    words = {"sampling", '"flagged"', "fused_score", f"{of.threshold:.4f}"[:5]}
    assert {word for word in numbers | words if word in text} == set()


# Readings must not be lost ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("routed_from_the_start")
def test_readings_made_offline_are_stored_and_sent_again(open_it: Open, maria: User) -> None:
    page = open_it()
    wait_for_film(page, 1)
    page.route("**/readings/", lambda route: route.abort())
    press(page, "a", "6")
    expect(page.locator("#trouble")).to_contain_text("The server does not answer. 1 reading is kept in this browser")
    wait_for_film(page, 2)
    press(page, "s", "1")
    expect(page.locator("#kept")).to_have_text("2 not saved yet")
    assert not Reading.objects.exists()
    page.reload()
    wait_for_film(page, 3)
    page.unroute("**/readings/")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    wait_until_saved(page)
    assert [reading.verdict for reading in Reading.objects.order_by("pk")] == ["normal", "abnormal"]


def test_after_a_log_out_readings_wait_for_the_log_in(open_it: Open, sign_in: Any, maria: User) -> None:
    page = open_it()
    wait_for_film(page, 1)
    cookies = page.context.cookies()
    page.context.clear_cookies()
    press(page, "a", "6")
    expect(page.locator("#trouble")).to_contain_text("1 reading is kept in this browser")
    expect(page.locator("#place")).to_have_text("Film 2 of 20")
    assert not Reading.objects.exists()
    assert cookies
    sign_in(maria)  # another session, so that the page's token is stale
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    wait_until_saved(page)
    assert Reading.objects.get().reader == maria


def test_the_dialog_of_an_ended_session_sends_the_reading_once_and_its_time_is_not_counted(
    open_it: Open, sign_in: Any, page: Page, maria: User
) -> None:
    page.clock.install()
    open_it()
    wait_for_film(page, 1)
    end_session(page)
    press(page, "a", "6")
    dialog = page.get_by_role("dialog", name="Your session has ended")
    expect(dialog.get_by_label("Password")).to_be_focused()
    sign_in(factories.user("other", Role.READER))
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(dialog).to_contain_text("Somebody else is logged in")
    assert serious_findings(page) == []
    end_session(page)
    page.clock.fast_forward(1_000_000)
    page.keyboard.type(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    wait_until_saved(page)
    wait_for_film(page, 2)
    press(page, "s", "1")
    wait_for_film(page, 3)
    wait_until_saved(page)
    readings = list(Reading.objects.order_by("pk"))
    assert [(reading.reader, reading.verdict) for reading in readings] == [(maria, "normal"), (maria, "abnormal")]
    assert max(reading.total_seconds for reading in readings) < 100


@pytest.mark.usefixtures("routed_from_the_start")
def test_an_answer_that_was_lost_on_the_way_makes_no_second_reading(open_it: Open) -> None:
    page = open_it()
    wait_for_film(page, 1)
    lost: list[int] = []

    def lose_the_answer(route: Route) -> None:
        lost.append(route.fetch().status)
        route.abort()

    page.route("**/readings/", lose_the_answer)  # also the answer to a retry, which any focus of the window causes
    press(page, "a", "6")
    expect(page.locator("#trouble")).to_contain_text("1 reading is kept in this browser")
    page.unroute("**/readings/")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    wait_until_saved(page)
    assert lost[0] == 201
    assert Reading.objects.count() == 1


@pytest.mark.usefixtures("routed_from_the_start")
def test_another_person_in_this_browser_sends_nothing_of_the_first(
    open_it: Open, sign_in: Any, live_server: Any, of: Worklist
) -> None:
    page = open_it()
    wait_for_film(page, 1)
    page.route("**/readings/", lambda route: route.abort())
    press(page, "a", "6")
    expect(page.locator("#trouble")).to_contain_text("1 reading is kept in this browser")
    other = factories.user("other", Role.READER)
    sign_in(other)
    page.unroute("**/readings/")
    page.evaluate("window.dispatchEvent(new Event('online'))")  # the page of the first is still open
    expect(page.locator("#trouble")).to_contain_text("Somebody else is logged in: what is kept here")
    assert not Reading.objects.exists()
    begin_reading(page, f"{live_server.url}/reading/{of.uuid}/")
    wait_for_film(page, 1)
    press(page, "d", "6")
    wait_until_saved(page)
    assert [reading.reader for reading in Reading.objects.all()] == [other]


def test_a_reading_made_after_the_list_expired_stays_on_the_page_until_it_is_begun_again(
    open_it: Open, of: Worklist, maria: User, live_server: Any
) -> None:
    page = open_it()
    wait_for_film(page, 1)
    WorklistReader.objects.update(expires_at=timezone.now())
    press(page, "s", "c")
    page.keyboard.type("left base")
    press(page, "Escape", "1")
    expect(page.locator("#trouble")).to_contain_text("Film 1 was not saved. Your time to read this worklist ended on")
    expect(page.locator("#trouble")).to_contain_text("What you entered is kept here.")
    wait_for_film(page, 1)
    expect(page.locator("#comment")).to_have_value("left base")
    assert not Reading.objects.exists()
    begin_reading(page, f"{live_server.url}/reading/{of.uuid}/")
    wait_for_film(page, 1)
    expect(page.locator("[data-verdict=abnormal]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#comment")).to_have_value("left base")
    press(page, "1")
    wait_for_film(page, 2)
    wait_until_saved(page)
    reading = Reading.objects.get()
    assert (reading.verdict, reading.reason, reading.comment) == ("abnormal", "true finding", "left base")


def test_a_refused_reading_returns_with_its_content(open_it: Open, of: Worklist) -> None:
    page = open_it()
    wait_for_film(page, 1)
    press(page, "a", "Shift+F")
    page.locator("#findings").fill("a|b")
    press(page, "Escape", "6")
    expect(page.locator("#trouble")).to_contain_text(
        "Film 1 was not saved. The finding 'a|b' is blank, too long or holds"
    )
    wait_for_film(page, 1)
    expect(page.locator("#findings")).to_have_value("a|b")
    page.locator("#findings").fill("nodule or mass, device")
    press(page, "Enter")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert Reading.objects.get().findings == ["nodule or mass", "device"]


def test_a_drawn_box_is_stored_with_the_reading(open_it: Open) -> None:
    page = open_it()
    wait_for_film(page, 1)
    page.locator("[data-hilum-viewer]").evaluate(
        "host => host.hilumViewer.setBoxes([{ x: 2, y: 3, width: 6, height: 5, finding: 'device' }])"
    )
    press(page, "s", "2")
    wait_for_film(page, 2)
    assert page.locator("[data-hilum-viewer]").evaluate("host => host.hilumViewer.boxes") == []
    wait_until_saved(page)
    assert Reading.objects.get().boxes == [{"x": 2, "y": 3, "width": 6, "height": 5, "finding": "device"}]
    press(page, "z")
    wait_for_film(page, 1)
    assert len(page.locator("[data-hilum-viewer]").evaluate("host => host.hilumViewer.boxes")) == 1


# Time, pause, escalation --------------------------------------------------------------------------------


def test_time_without_input_is_total_and_not_active_and_a_pause_is_neither(open_it: Open, page: Page) -> None:
    page.clock.install()
    open_it()
    wait_for_film(page, 1)
    page.clock.fast_forward(100_000)  # nobody touches anything
    press(page, "k")
    expect(page.get_by_role("dialog", name="Paused")).to_be_visible()
    page.clock.fast_forward(1_000_000)
    press(page, "k")
    expect(page.get_by_role("dialog", name="Paused")).to_be_hidden()
    press(page, "a", "6")
    wait_for_film(page, 2)
    wait_until_saved(page)
    reading = Reading.objects.get()
    assert 100 <= reading.total_seconds < 160
    assert 25 <= reading.active_seconds < 90


def test_a_film_is_escalated_by_keyboard_and_the_broker_answers(
    open_it: Open, page: Page, live_server: Any, sign_in: Any, of: Worklist
) -> None:
    open_it()
    wait_for_film(page, 1)
    press(page, "u")
    expect(page.get_by_role("dialog", name="Escalate this film")).to_be_visible()
    page.keyboard.type("A pneumothorax, untreated")  # letters are text here, not verdicts
    press(page, "Tab", "Enter")
    expect(page.locator("#kept")).to_have_text("Escalated to the honest broker")
    wait_for_film(page, 1)
    expect(page.locator("[data-verdict=normal]")).to_have_attribute("aria-pressed", "false")
    raised = Escalation.objects.get()
    assert raised.reason == "A pneumothorax, untreated"
    sign_in(factories.user("broker", Role.BROKER))
    page.goto(f"{live_server.url}/reading/escalations/")
    assert serious_findings(page) == []
    page.get_by_label("Action taken").fill("ward informed")
    press(page, "Enter")
    expect(page.get_by_role("cell", name="ward informed")).to_be_visible()


# Accessibility ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_pages_of_reading(
    page: Page, live_server: Any, of: Worklist, sign_in: Any, theme: str
) -> None:
    person = factories.user("all", *Role, theme=theme)
    reader = factories.user("reader", Role.READER)
    for item in items(of):
        read(item, reader, "normal", reason="normal variant")
    verdicts.escalate(item=items(of)[0], reader=reader, reason="tension")
    sign_in(person)
    problems = {}
    for address in ("", "new/", f"{of.uuid}/summary/", "escalations/", "adjudications/", "normals/", f"{of.uuid}/"):
        page.goto(f"{live_server.url}/reading/{address}")
        if address == f"{of.uuid}/":
            problems["begin"] = serious_findings(page)
            begin_reading(page, page.url)
            wait_for_film(page, 1)
            press(page, "s")
        problems[address] = serious_findings(page)
    assert {address: lines for address, lines in problems.items() if lines} == {}


def test_axe_finds_what_is_wrong(page: Page, live_server: Any, of: Worklist, sign_in: Any) -> None:
    sign_in(User.objects.get(username="analyst"))
    page.goto(f"{live_server.url}/reading/")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<input>')")
    assert [line.partition(":")[0] for line in serious_findings(page)] == ["label"]


def test_axe_judges_a_colour_when_it_has_faded_in(page: Page, live_server: Any, of: Worklist, sign_in: Any) -> None:
    sign_in(User.objects.get(username="analyst"))
    page.goto(f"{live_server.url}/reading/")
    page.evaluate("""() => {
      const main = document.querySelector("main");
      main.insertAdjacentHTML("beforeend", '<p id="fades">Normal</p>');
      const fades = document.getElementById("fades");
      Object.assign(fades.style, { color: "#fff", background: "#fff" });
      getComputedStyle(fades).color;
      fades.style.transition = "color 0.5s";
      fades.style.color = "#000";
    }""")
    assert serious_findings(page) == []


def test_the_list_of_keys_opens_at_its_top_and_prints_their_words(open_it: Open) -> None:
    page = open_it()
    page.set_viewport_size({"width": 768, "height": 500})
    wait_for_film(page, 1)
    press(page, "?")
    dialog = page.get_by_role("dialog", name="Keys of the film viewer")
    expect(dialog.get_by_role("heading", name="Keys", exact=True)).to_be_in_viewport()
    assert dialog.evaluate("(dialog) => [dialog.scrollTop, dialog.scrollHeight > dialog.clientHeight]") == [0, True]
    listed = dialog.locator(".hv-page-keys")
    rows = dict(zip(listed.locator("dt").all_inner_texts(), listed.locator("dd").all_inner_texts(), strict=True))
    assert (rows["Shift+F"], rows["C"]) == ("Findings, separated by commas", "Comment, without names")
    assert rows["Z"] == "Previous film"


def test_a_person_s_keys_hold_on_the_reading_page(open_it: Open, maria: User) -> None:
    maria.label_keys = {"abnormal": "j", "comment": "k"}
    maria.save()
    page = open_it()
    wait_for_film(page, 1)
    press(page, "j", "k")
    expect(page.locator("#comment")).to_be_focused()
    press(page, "Escape", "1")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert Reading.objects.get().verdict == "abnormal"


def test_no_key_of_the_page_is_one_of_the_viewer_s(open_it: Open) -> None:
    """Except the heatmap's key, which does the same in both."""
    page = open_it()
    wait_for_film(page, 1)
    page_keys = set(
        page.locator("#reading aside [data-key]").evaluate_all("all => all.map((button) => button.dataset.key)")
    )
    viewer_keys = set(
        page.locator("[data-hilum-viewer] [aria-keyshortcuts]").evaluate_all(
            "all => all.map((button) => button.getAttribute('aria-keyshortcuts').toLowerCase())"
        )
    )
    assert len(viewer_keys) > 10
    assert page_keys & viewer_keys == {"h"}
