"""A curator screens a queue by keyboard, and no label is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from portal.models import Adjudication, CurrentLabel, Image, LabelEvent, QueuePlace, Role, ScreeningQueue, User
from portal.sets.screening_queues import Suspect, queue_films, queue_suspects
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

FINDINGS = ["pneumonia", "effusion"]


@pytest.fixture
def kim(data_dir: Path) -> User:
    site = factories.site()
    site.findings = FINDINGS
    site.save()
    return factories.curator("kim")


@pytest.fixture
def open_queue(page: Page, live_server: Any, sign_in: Callable[[Any], None], kim: User) -> Callable[..., Page]:
    """A function that opens a queue of `films` unlabelled films as kim, and waits for the first film."""

    def open_page(films: int = 3, *, queue: ScreeningQueue | None = None, person: User | None = None) -> Page:
        sign_in(person or kim)
        screening_queue = queue or queue_of(films, kim)
        page.goto(f"{live_server.url}/queues/{screening_queue.uuid}/")
        wait_for_film(page, 1)
        return page

    return open_page


def queue_of(films: int, author: User) -> ScreeningQueue:
    of = factories.dataset()
    factories.films(of, unlabelled=films)
    return queue_films(
        site=of.site, name="May", images=of.images.all(), author=author, source="Normals", order="imported"
    )


def wait_for_film(page: Page, position: int) -> None:
    """Wait until the film is on the screen, where a key labels it."""
    expect(page.locator("#queue")).to_have_attribute("data-shown", str(position))
    expect(page.locator("[data-hilum-viewer]")).to_have_attribute("data-state", "ready")


def wait_until_saved(page: Page) -> None:
    expect(page.locator("#saved")).to_have_attribute("data-state", "saved")


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("the condition did not become true")


def values() -> list[str]:
    """The labels of the films, in the order of import; "" for none."""
    rows = Image.objects.order_by("pk").values_list("current_label__value", flat=True)
    return [value or "" for value in rows]


def by(name: str) -> User:
    return User.objects.get(username=name)


# By keyboard --------------------------------------------------------------------------------------------------


def test_thirty_films_are_labelled_with_one_key_each(open_queue: Callable[..., Page]) -> None:
    page = open_queue(30)
    before = page.evaluate("performance.timeOrigin")
    for position in range(1, 31):
        wait_for_film(page, position)
        page.keyboard.press("asdfg"[position % 5])
    expect(page.get_by_role("heading", name="The end of the queue")).to_be_visible()
    wait_until_saved(page)
    assert page.evaluate("performance.timeOrigin") == before  # the page was never loaded again
    assert values() == ["abnormal", "unsure", "exclude", "exclude", "normal"] * 6
    assert LabelEvent.objects.count() == 30
    bad = CurrentLabel.objects.filter(findings=["bad quality"])
    assert sorted(bad.values_list("image", flat=True)) == [film.pk for film in Image.objects.order_by("pk")[2::5]]


def test_findings_are_picked_by_number_and_enter_saves_them(open_queue: Callable[..., Page]) -> None:
    page = open_queue()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    wait_for_film(page, 2)
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.keyboard.press("1")  # deselects it
    page.keyboard.press("d")
    wait_for_film(page, 3)
    page.keyboard.press("Backspace")
    wait_for_film(page, 2)
    expect(page.locator("#film-findings")).to_have_text("effusion")
    wait_until_saved(page)
    events = LabelEvent.objects.order_by("pk").values_list("value", "findings")
    assert list(events) == [("abnormal", ["effusion"]), ("unsure", ["effusion"])]


def test_a_label_is_confirmed_without_losing_its_finding(open_queue: Callable[..., Page], kim: User) -> None:
    of = factories.dataset()
    films = factories.films(of, unlabelled=2)
    for film in films:
        box = {"x": 2, "y": 3, "width": 5, "height": 6, "finding": "nodule"}
        factories.event(film, "abnormal", findings=["effusion", "nodule"], boxes=[box])
    queue = queue_films(
        site=of.site, name="May", images=of.images.all(), author=kim, source="Normals", order="imported"
    )
    page = open_queue(queue=queue)
    ticked = page.locator("#findings label:has(input:checked)")
    expect(ticked).to_have_count(2)
    page.keyboard.press("s")
    wait_for_film(page, 2)
    wait_until_saved(page)
    event = films[0].label_events.latest("pk")
    assert (event.author, event.findings, len(event.boxes)) == (kim, ["effusion", "nodule"], 1)
    page.keyboard.press("a")
    expect(page.locator("#saved")).to_contain_text(
        "Saved as normal. The findings effusion, nodule and 1 box of the earlier label no longer count"
    )
    page.keyboard.press("z")
    wait_for_film(page, 2)
    expect(ticked).to_have_count(2)
    wait_until_saved(page)
    assert values() == ["abnormal", "abnormal"]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one point to another, as shares of the stage."""
    area = page.locator(".hv-stage").bounding_box()
    assert area is not None
    points = [(area["x"] + area["width"] * x, area["y"] + area["height"] * y) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=3)
    page.mouse.up()


def test_boxes_are_drawn_named_edited_and_deleted_while_screening(open_queue: Callable[..., Page]) -> None:
    page = open_queue(2)
    film = Image.objects.order_by("pk").first()
    assert film is not None
    page.keyboard.press("Shift+B")
    drag(page, (0.42, 0.4), (0.5, 0.55))
    page.get_by_label("Finding of box 1").select_option("effusion")
    page.locator(".hv-own").focus()
    page.keyboard.press("s")
    wait_for_film(page, 2)
    wait_until_saved(page)
    (box,) = film.label_events.get().boxes
    assert (box["finding"], box["x"] >= 0, box["x"] + box["width"] <= film.columns) == ("effusion", True, True)
    expect(page.locator(".hv-own")).to_have_count(0)

    page.keyboard.press("Backspace")
    wait_for_film(page, 1)
    expect(page.locator(".hv-own text")).to_have_text("effusion")
    page.locator(".hv-own").focus()
    page.keyboard.press("ArrowRight")  # moves the box, not the queue
    expect(page.locator("#place")).to_have_text("1 of 2")
    page.keyboard.press("s")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert film.label_events.latest("pk").boxes == [{**box, "x": box["x"] + 1}]

    page.keyboard.press("Backspace")
    wait_for_film(page, 1)
    page.locator(".hv-own").focus()
    page.keyboard.press("Delete")
    page.keyboard.press("s")
    wait_for_film(page, 2)
    expect(page.locator("#saved")).to_contain_text("1 box of the earlier label no longer counts")
    assert film.label_events.latest("pk").boxes == []
    page.keyboard.press("z")
    wait_until_saved(page)
    wait_until(page, lambda: film.label_events.count() == 4)


@pytest.mark.usefixtures("routed_from_the_start")
def test_boxes_drawn_offline_and_on_films_left_behind_are_kept(open_queue: Callable[..., Page]) -> None:
    page = open_queue(3)
    page.keyboard.press("Shift+M")
    page.keyboard.press("Escape")  # out of the box, so that the arrow goes to the next film
    page.keyboard.press("ArrowRight")
    wait_for_film(page, 2)
    expect(page.locator("#saved")).to_have_text("The boxes of film 1 are not saved yet: go back and label it")
    page.keyboard.press("ArrowLeft")
    wait_for_film(page, 1)
    expect(page.locator(".hv-own")).to_have_count(1)
    page.route("**/labels/", lambda route: route.abort())
    page.keyboard.press("s")
    expect(page.locator("#saved")).to_have_attribute("data-state", "unsaved")
    page.unroute("**/labels/")
    page.reload()  # the next page sends it
    wait_until_saved(page)
    wait_until(page, LabelEvent.objects.exists)
    assert len(LabelEvent.objects.get().boxes) == 1


def test_criteria_are_shown_and_attributes_are_saved_with_the_label_of_a_normal(
    open_queue: Callable[..., Page],
) -> None:
    factories.criteria("No device.\n\nFull inspiration.")
    page = open_queue(5)
    expect(page.get_by_text("Full inspiration.")).to_be_hidden()
    page.keyboard.press("0")
    expect(page.get_by_text("Full inspiration.")).to_be_visible()
    page.keyboard.press("0")
    expect(page.get_by_text("Full inspiration.")).to_be_hidden()
    page.keyboard.press("Shift+Digit4")
    page.keyboard.press("Shift+Digit1")
    page.keyboard.press("a")
    wait_for_film(page, 2)
    expect(page.get_by_label("device")).not_to_be_checked()
    page.keyboard.press("a")
    wait_for_film(page, 3)
    page.keyboard.press("Shift+Digit3")
    page.keyboard.press("Enter")  # as picked findings are saved as abnormal
    wait_for_film(page, 4)
    page.get_by_label("poor inspiration").check()
    page.keyboard.press("a")
    wait_for_film(page, 5)
    page.keyboard.press("Shift+Digit2")
    page.keyboard.press("s")
    expect(page.get_by_role("heading", name="The end of the queue")).to_be_visible()
    wait_until_saved(page)
    events = LabelEvent.objects.order_by("image").values_list("value", "attributes", "criteria__version")
    assert list(events) == [
        ("normal", ["device", "old fracture"], 1),
        ("normal", [], 1),
        ("normal", ["variant"], 1),
        ("normal", ["poor inspiration"], 1),
        ("abnormal", [], 1),
    ]


def test_attributes_stay_with_a_confirmed_film_and_go_when_they_are_unticked(open_queue: Callable[..., Page]) -> None:
    page = open_queue(1)
    factories.criteria("No device.")
    page.keyboard.press("Shift+Digit1")
    page.keyboard.press("a")
    expect(page.locator("#end-words")).to_be_visible()
    wait_until_saved(page)
    expect(page.locator("#saved")).to_have_text("What normal means has changed to v1: reload the page to read it")
    page.reload()
    wait_for_film(page, 1)
    expect(page.get_by_label("device")).to_be_checked()
    expect(page.locator("#film-findings")).to_have_text("device")
    page.keyboard.press("a")
    wait_until_saved(page)
    assert CurrentLabel.objects.get().attributes == ["device"]
    page.reload()
    wait_for_film(page, 1)
    page.keyboard.press("Shift+Digit1")
    page.keyboard.press("a")
    wait_until_saved(page)
    wait_until(page, lambda: CurrentLabel.objects.get().attributes == [])
    assert LabelEvent.objects.count() == 3


def test_a_comment_is_typed_without_labelling(open_queue: Callable[..., Page]) -> None:
    page = open_queue()
    page.keyboard.press("c")
    page.keyboard.type("as dark as it gets")
    page.keyboard.press("Enter")
    page.keyboard.press("s")
    wait_for_film(page, 2)
    expect(page.locator("#comment")).to_have_value("")
    wait_until_saved(page)
    assert list(LabelEvent.objects.values_list("value", "reason")) == [("abnormal", "as dark as it gets")]


def test_undo_goes_back_to_the_film(open_queue: Callable[..., Page]) -> None:
    page = open_queue()
    page.keyboard.press("a")
    wait_for_film(page, 2)
    page.keyboard.press("s")
    wait_for_film(page, 3)
    wait_until_saved(page)  # what was not sent is dropped
    page.keyboard.press("z")
    wait_for_film(page, 2)
    expect(page.locator("#film-label")).to_have_text("unlabelled")
    page.keyboard.press("z")
    wait_for_film(page, 1)
    wait_until_saved(page)
    assert values() == ["", "", ""]
    assert LabelEvent.objects.filter(reverts__isnull=False).count() == 2


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_label_whose_answer_was_lost_is_undone_on_the_server_too(open_queue: Callable[..., Page]) -> None:
    page = open_queue()

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/labels/", lose_the_answer, times=1)
    page.keyboard.press("a")
    expect(page.locator("#saved")).to_have_attribute("data-state", "unsaved")
    assert values() == ["normal", "", ""]
    page.keyboard.press("z")
    page.get_by_role("button", name="Save again").click()
    wait_until_saved(page)
    assert values() == ["", "", ""]


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_film_that_is_not_on_the_screen_is_not_labelled(open_queue: Callable[..., Page]) -> None:
    page = open_queue(4)
    page.route("**/pixels", lambda route: route.abort())
    page.reload()
    expect(page.locator("[data-hilum-viewer]")).to_have_attribute("data-state", "error")
    page.keyboard.press("a")
    expect(page.locator("#saved")).to_have_text("Not labelled: the film is not on the screen yet")
    assert not LabelEvent.objects.exists()
    page.unroute("**/pixels")
    page.locator("[data-hilum-viewer]").get_by_role("button", name="Try again").click()
    wait_for_film(page, 1)
    page.keyboard.press("a")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert values() == ["normal", "", "", ""]


def test_a_reload_continues_at_the_same_film(open_queue: Callable[..., Page], kim: User) -> None:
    page = open_queue(5)
    for position in (1, 2):
        wait_for_film(page, position)
        page.keyboard.press("a")
    wait_for_film(page, 3)
    wait_until_saved(page)
    place = QueuePlace.objects.filter(user=kim).values_list("position", flat=True)
    wait_until(page, lambda: list(place.all()) == [3])
    page.reload()
    wait_for_film(page, 3)


# No label is lost ----------------------------------------------------------------------------------------------


def end_session(page: Page) -> None:
    page.context.clear_cookies(name="sessionid")


def log_in_again(page: Page) -> None:
    dialog = page.get_by_role("dialog", name="Your session has ended")
    dialog.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()


def test_a_label_given_after_the_session_ended_is_saved_after_the_log_in(open_queue: Callable[..., Page]) -> None:
    page = open_queue()
    end_session(page)
    page.keyboard.press("s")
    dialog = page.get_by_role("dialog", name="Your session has ended")
    expect(dialog).to_be_visible()
    expect(page.locator("#saved")).to_contain_text("1 change not saved, kept in this browser")
    assert not LabelEvent.objects.exists()
    page.keyboard.type("not the password")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("do not match an account")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    wait_until_saved(page)
    assert values() == ["abnormal", "", ""]
    wait_for_film(page, 2)
    page.keyboard.press("a")
    wait_for_film(page, 3)
    wait_until_saved(page)
    assert values() == ["abnormal", "normal", ""]


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_film_that_was_on_its_way_when_the_session_ended_is_fetched_again(
    page: Page, open_queue: Callable[..., Page]
) -> None:
    facts_requests: list[Route] = []

    def leave_the_second_unanswered(route: Route) -> None:
        facts_requests.append(route)
        if len(facts_requests) != 2:
            route.continue_()

    page.route("**/images/*/facts", leave_the_second_unanswered)
    open_queue(2)
    end_session(page)
    page.keyboard.press("s")
    expect(page.get_by_role("dialog", name="Your session has ended")).to_be_visible()
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    wait_until_saved(page)
    wait_for_film(page, 2)
    assert facts_requests[1].request.url == facts_requests[2].request.url


def test_drafts_outlive_the_page_and_the_log_in(open_queue: Callable[..., Page], live_server: Any) -> None:
    page = open_queue()
    end_session(page)
    page.keyboard.press("s")
    expect(page.get_by_role("dialog", name="Your session has ended")).to_be_visible()
    page.goto(f"{live_server.url}/accounts/login/?next=/queues/{ScreeningQueue.objects.get().uuid}/")
    page.get_by_label("User name").fill("kim")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/queues/**")
    wait_until_saved(page)
    assert values() == ["abnormal", "", ""]


@pytest.mark.usefixtures("routed_from_the_start")
def test_the_drafts_of_one_person_are_not_saved_by_another(
    open_queue: Callable[..., Page], sign_in: Any, live_server: Any
) -> None:
    lee = factories.curator("lee")
    page = open_queue()
    page.route("**/labels/", lambda route: route.abort())
    page.keyboard.press("s")
    expect(page.locator("#saved")).to_have_attribute("data-state", "unsaved")
    page.unroute("**/labels/")
    sign_in(lee)
    page.get_by_role("button", name="Save again").click()
    expect(page.locator("#saved")).to_contain_text("Somebody else is logged in")
    page.reload()
    wait_until_saved(page)
    assert not LabelEvent.objects.exists()


@pytest.mark.usefixtures("routed_from_the_start")
def test_labelling_continues_without_a_connection(open_queue: Callable[..., Page]) -> None:
    page = open_queue()
    page.route("**/labels/", lambda route: route.abort())
    page.keyboard.press("a")
    wait_for_film(page, 2)
    page.keyboard.press("s")
    wait_for_film(page, 3)
    expect(page.locator("#saved")).to_contain_text("2 changes not saved, kept in this browser")
    page.keyboard.press("z")  # the second label was never sent
    expect(page.locator("#saved")).to_contain_text("1 change not saved")
    page.unroute("**/labels/")
    page.get_by_role("button", name="Save again").click()
    wait_until_saved(page)
    assert values() == ["normal", "", ""]
    assert LabelEvent.objects.count() == 1


# Two people on one film -----------------------------------------------------------------------------------------


def label_concurrently(page: Page, value: str = "normal") -> Any:
    """Lee labels the film that is open; then the person at the page labels it."""
    film = Image.objects.order_by("pk")[0]
    factories.label_films(images=[film], value=value, author=by("lee"), site=film.dataset.site, reason="clear enough")
    page.keyboard.press("s")
    dialog = page.get_by_role("dialog", name="Somebody else labelled this film")
    expect(dialog).to_be_visible()
    expect(dialog.locator("#merge-mine")).to_have_text("abnormal")
    expect(dialog.locator("#merge-theirs")).to_have_text(f"{value}, “clear enough” (lee)")
    return dialog


@pytest.mark.parametrize(
    ("choice", "label", "events"), [("Take theirs", "normal", 1), ("Leave unresolved", "unresolved", 2)]
)
def test_two_labels_on_one_film_are_merged(
    open_queue: Callable[..., Page], choice: str, label: str, events: int
) -> None:
    factories.curator("lee")
    page = open_queue()
    dialog = label_concurrently(page)
    expect(dialog.get_by_role("button", name="Keep mine")).to_be_disabled()
    dialog.get_by_role("button", name=choice).click()
    expect(dialog).to_be_hidden()
    wait_until_saved(page)
    assert values()[0] == label
    assert LabelEvent.objects.count() == events


PRESS_KEY_ON_OPENING = """() => {
    const dialog = document.getElementById("merge");
    new MutationObserver(() => {
        if (!dialog.open || window.pressed) return;
        window.pressed = true;
        dialog.dispatchEvent(new KeyboardEvent("keydown", { key: "1", bubbles: true }));
    }).observe(dialog, { attributes: true });
}"""


def test_an_adjudicator_settles_by_a_key(open_queue: Callable[..., Page], kim: User) -> None:
    factories.curator("lee")
    judge = factories.user("judge", Role.CURATOR, Role.ADJUDICATOR)
    page = open_queue(person=judge)
    page.evaluate(PRESS_KEY_ON_OPENING)
    dialog = label_concurrently(page)
    expect(page.locator("#saved")).to_contain_text("1 change not saved, kept in this browser")
    assert page.evaluate("window.pressed")  # the key was meant for the film: it chooses nothing
    wait_until(page, lambda: page.keyboard.press("1") or dialog.is_hidden())
    wait_until_saved(page)
    assert values()[0] == "abnormal"
    assert Adjudication.objects.get().adjudicator == judge


# By score --------------------------------------------------------------------------------------------------------


def test_the_least_normal_region_is_outlined_and_no_score_is_shown(open_queue: Callable[..., Page], kim: User) -> None:
    of = factories.dataset()
    films = factories.films(of, normal=4)
    split = draw_split(
        SplitRequest(site=of.site, name="all fit", datasets=[of], seed=0, author=kim), fractions={"fit": 1.0}
    )
    suspects = [Suspect(film.pk, [{"x": 2, "y": 3, "width": 8, "height": 9}]) for film in films]
    screening_queue = queue_suspects(
        site=of.site, name="suspects", suspects=suspects, split=split, author=kim, source="detector May"
    )
    page = open_queue(queue=screening_queue)
    expect(page.locator(".hv-boxes text")).to_have_text("least normal region")
    page.keyboard.press("s")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert LabelEvent.objects.get(value="abnormal").queue == screening_queue


# A person's own keys -----------------------------------------------------------------------------------------------


def test_keys_are_changed_and_used(
    open_queue: Callable[..., Page], page: Page, live_server: Any, sign_in: Any, kim: User
) -> None:
    sign_in(kim)
    page.goto(f"{live_server.url}/keys/")
    page.get_by_label("Normal", exact=True).fill("s")
    page.get_by_role("button", name="Save the keys").click()
    refusal = "'s' is already the key for Normal; choose another key for Abnormal."
    expect(page.get_by_role("alert")).to_have_text(refusal)
    page.get_by_label("Normal", exact=True).fill("j")
    page.get_by_role("button", name="Save the keys").click()
    expect(page.get_by_role("status")).to_have_text("Your keys are saved.")
    open_queue()
    page.keyboard.press("?")
    expect(page.locator("dialog#keys")).to_be_visible()
    expect(page.locator("dialog#keys dt").first).to_have_text("J")
    page.keyboard.press("Escape")
    page.keyboard.press("a")  # no longer a key
    page.keyboard.press("j")
    wait_for_film(page, 2)
    wait_until_saved(page)
    assert values() == ["normal", "", ""]
