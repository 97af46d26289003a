"""Labelling by keyboard alone: the grid and a film's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, expect

from portal.models import Dataset, Image, LabelEvent, Membership, Role, User
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def grid(page: Page, live_server: Any, data_dir: Path) -> Page:
    """The grid of six films, imported as abnormal with a finding, for a curator who is logged in."""
    factories.curator("kim")
    of: Dataset = factories.dataset()
    for film in factories.films(of, unlabelled=6):
        factories.event(film, "abnormal", findings=["nodule"])
    page.goto(f"{live_server.url}/accounts/login/?next=/datasets/{of.uuid}/")
    page.get_by_label("User name").fill("kim")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(".hilum-tile")).to_have_count(6)
    expect(page.locator("#grid")).to_have_attribute("data-keys", "ready")
    return page


SLOW = """
    const originalFetch = window.fetch, atOnce = { now: 0, most: 0 };
    window.atOnce = atOnce;
    window.fetch = async (...request) => {
        atOnce.now += 1;
        atOnce.most = Math.max(atOnce.most, atOnce.now);
        const answer = await originalFetch(...request);
        await new Promise((done) => setTimeout(done, 300));
        atOnce.now -= 1;
        return answer;
    };
"""


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def labels(page: Page) -> list[str]:
    return page.locator(".hilum-tile [data-label]").all_inner_texts()


def test_keys_label_the_focused_film_and_focus_the_next(grid: Page) -> None:
    press(grid, "a")
    expect(grid.locator("#saved")).to_have_text("All saved")  # no film is in focus yet
    press(grid, "ArrowRight", "a")
    expect(grid.locator("#saved")).to_contain_text(
        "Saved: 1 film normal. The finding nodule of the earlier label no longer counts; undo brings it back"
    )
    press(grid, "d")
    expect(grid.locator("#saved")).to_contain_text("Saved: 1 film unsure. ")
    assert labels(grid) == ["normal", "unsure", "abnormal", "abnormal", "abnormal", "abnormal"]
    expect(grid.locator(".hilum-tile a:focus")).to_have_accessible_name("Film 3, abnormal")
    expect(grid.locator(".hilum-tile").first.locator("[data-findings]")).to_be_empty()
    expect(grid.locator("label[for=label-normal]")).to_contain_text("1")

    press(grid, "z")
    expect(grid.locator("#saved")).to_have_text("Undone: the label of 1 film taken back")
    press(grid, "z")
    expect(grid.locator(".hilum-tile").first.locator("[data-findings]")).to_have_text("nodule")
    assert labels(grid) == ["abnormal"] * 6
    press(grid, "z")
    expect(grid.locator("#saved")).to_have_text("Not undone. You have nothing to undo here.")


def test_attributes_and_criteria_in_the_grid_and_on_the_page_of_a_film(grid: Page) -> None:
    press(grid, "ArrowRight", "Shift+Digit1", "Shift+Digit5", "a")
    expect(grid.locator("#saved")).to_contain_text("Saved: 1 film normal")
    expect(grid.locator(".hilum-tile").first.locator("[data-findings]")).to_have_text("device, poor inspiration")
    press(grid, "ArrowLeft", "a")  # nothing is ticked: the film keeps them
    expect(grid.locator("#saved")).to_contain_text("Saved: 1 film normal")
    factories.criteria("No device.")
    grid.goto(f"{grid.url.split('/datasets')[0]}/images/{Image.objects.order_by('pk')[0].uuid}/")
    expect(grid.locator("#labelbar")).to_have_attribute("data-keys", "ready")
    expect(grid.get_by_label("device")).to_be_checked()
    press(grid, "0")
    expect(grid.get_by_text("No device.")).to_be_visible()
    press(grid, "Shift+Digit1", "a")
    expect(grid.locator("[data-findings]")).to_have_text("poor inspiration")
    expect(grid.locator("#history")).to_contain_text("with poor inspiration")
    expect(grid.locator("#history")).to_contain_text("(criteria v1)")
    events = LabelEvent.objects.filter(value="normal").order_by("pk").values_list("attributes", flat=True)
    assert list(events) == [["device", "poor inspiration"]] * 2 + [["poor inspiration"]]


def test_space_selects_films_and_a_key_labels_the_selection(grid: Page) -> None:
    press(grid, "ArrowRight", "Space", "ArrowRight", "ArrowRight", "Space")
    expect(grid.locator("#chosen")).to_have_text("2 chosen")
    press(grid, "g")
    expect(grid.locator("#saved")).to_contain_text("Saved: 2 films exclude. ")
    assert labels(grid) == ["exclude", "abnormal", "exclude", "abnormal", "abnormal", "abnormal"]
    press(grid, "Shift+A")
    expect(grid.locator("#chosen")).to_have_text("6 chosen")
    press(grid, "Escape")
    expect(grid.locator("#chosen")).to_have_text("The film in focus")


def test_buttons_and_filters_keep_their_own_keys(grid: Page) -> None:
    press(grid, "ArrowRight")
    grid.get_by_role("button", name="Choose page").focus()
    press(grid, "Space")
    expect(grid.locator("#chosen")).to_have_text("6 chosen")
    grid.locator("#label-all").focus()
    before = grid.url
    press(grid, "ArrowRight", "ArrowRight")
    grid.wait_for_timeout(150)
    assert grid.url == before  # nothing is sent on the way
    press(grid, "Enter")
    grid.wait_for_url("**label=abnormal**")
    expect(grid.locator("#label-abnormal")).to_be_focused()


def test_a_filter_chosen_by_pointer_is_sent_at_once(grid: Page) -> None:
    grid.locator("label[for=label-abnormal]").click()
    grid.wait_for_url("**label=abnormal**")


def test_a_choice_by_keyboard_is_sent_by_enter_and_keeps_the_focus(grid: Page) -> None:
    views = grid.get_by_label("View position")
    views.focus()
    before = grid.url
    press(grid, "ArrowDown")
    grid.wait_for_timeout(150)
    assert (grid.url, views.input_value()) == (before, "PA")
    press(grid, "Enter")
    grid.wait_for_url("**view=PA**")
    expect(grid.get_by_label("View position")).to_be_focused()
    press(grid, "ArrowUp")
    grid.get_by_role("button", name="Apply").focus()
    press(grid, "Enter")
    grid.wait_for_url(lambda url: "view=&" in url)
    expect(grid.get_by_role("button", name="Apply")).to_be_focused()


def test_arrows_over_the_sites_do_not_change_the_site(grid: Page) -> None:
    kim = User.objects.get(username="kim")
    for name in ("Aachen", "Busan"):
        Membership.objects.create(user=kim, site=factories.site(name), role=Role.CURATOR)
    grid.reload()
    sites = grid.get_by_label("Site")
    sites.focus()
    press(grid, "ArrowUp", "ArrowUp")
    grid.wait_for_timeout(150)
    expect(sites).to_be_focused()
    press(grid, "Enter")
    grid.wait_for_url("**/datasets/")
    expect(grid.get_by_label("Site").locator("option:checked")).to_have_text("Aachen")
    expect(grid.get_by_label("Site")).to_be_focused()


def test_the_filters_keep_their_row_beside_the_name_of_a_run(grid: Page) -> None:
    """The orders name runs, of up to a hundred letters."""
    order, apply = grid.locator("#filters [name=sort]"), grid.locator("#filters [data-apply]")
    order.evaluate("(field) => field.add(new Option('Least normal first by ' + 'a run with a long name '.repeat(4)))")
    order.evaluate("(field) => { field.selectedIndex = field.length - 1; }")
    boxes = [one.bounding_box() for one in (grid.locator("#filters select").first, apply)]
    tops = [box["y"] for box in boxes if box]
    assert len(tops) == 2
    assert abs(tops[0] - tops[1]) < 10


def test_the_list_of_keys_opens_and_closes(grid: Page) -> None:
    press(grid, "?")
    expect(grid.locator("#keys")).to_be_visible()
    press(grid, "a", "Escape")  # labels nothing
    expect(grid.locator("#keys")).to_be_hidden()
    expect(grid.locator("#saved")).to_have_text("All saved")


def test_c_writes_a_comment(grid: Page) -> None:
    press(grid, "ArrowRight", "c")
    expect(grid.locator("#comment")).to_be_focused()
    grid.keyboard.type("a shadow")
    press(grid, "Escape")
    grid.locator(".hilum-tile a").first.focus()
    press(grid, "s")
    expect(grid.locator("#saved")).to_have_text("Saved: 1 film abnormal")
    assert LabelEvent.objects.latest("pk").reason == "a shadow"


def test_a_film_is_opened_labelled_and_left_by_keys(grid: Page) -> None:
    press(grid, "ArrowRight", "ArrowRight", "Enter")
    grid.wait_for_url("**/images/**")
    expect(grid.locator("#labelbar")).to_have_attribute("data-keys", "ready")
    expect(grid.locator("#history li")).to_have_count(1)
    press(grid, "s")
    expect(grid.locator("#saved")).to_have_text("Saved: 1 film abnormal")
    expect(grid.locator("#history li")).to_have_count(2)
    second = grid.url
    press(grid, "ArrowRight")
    grid.wait_for_url(lambda url: url != second)
    press(grid, "ArrowLeft")
    grid.wait_for_url(second)


def test_a_label_that_was_not_saved_is_not_shown(grid: Page) -> None:
    grid.context.clear_cookies()
    press(grid, "ArrowRight", "a")
    expect(grid.locator("#saved")).to_contain_text("1 change not saved, kept in this browser")
    expect(grid.locator(".hilum-unsaved")).to_have_text("normal not saved")
    assert labels(grid) == ["abnormal"] * 6


# Keys never wait for the server ---------------------------------------------------------------------------


def test_a_key_labels_the_film_that_had_focus_when_it_was_pressed(grid: Page) -> None:
    grid.evaluate(SLOW)
    press(grid, "ArrowRight", "a")
    expect(grid.locator(".hilum-tile a:focus")).to_have_accessible_name("Film 2, abnormal")
    grid.wait_for_timeout(80)
    press(grid, "d", "g")
    expect(grid.locator(".hilum-tile a:focus")).to_have_accessible_name("Film 4, abnormal")
    assert labels(grid) == ["abnormal"] * 6  # no label shows before it is saved
    expect(grid.locator("#saved")).to_contain_text("Saved: 1 film exclude. ")
    assert labels(grid) == ["normal", "unsure", "exclude", "abnormal", "abnormal", "abnormal"]
    assert grid.evaluate("atOnce.most") == 1  # in the order of the keys
    assert LabelEvent.objects.filter(author__isnull=False).count() == 3


def test_a_held_key_acts_once(grid: Page) -> None:
    press(grid, "ArrowRight")
    for key in ("a", "z"):
        for _ in range(4):
            grid.keyboard.down(key)
        grid.keyboard.up(key)
    expect(grid.locator("#saved")).to_contain_text("Undone")
    assert LabelEvent.objects.filter(author__isnull=False).count() == 2


@pytest.mark.usefixtures("routed_from_the_start")
def test_an_unsaved_label_stays_marked_until_it_is_saved(grid: Page) -> None:
    press(grid, "ArrowRight")
    grid.route("**/labels/", lambda route: route.abort())
    press(grid, "a", "d")
    expect(grid.locator("#saved")).to_contain_text("2 changes not saved, kept in this browser")
    expect(grid.locator(".hilum-unsaved")).to_have_text(["normal not saved", "unsure not saved"])
    assert labels(grid)[:2] == ["abnormal", "abnormal"]
    grid.unroute("**/labels/")
    grid.get_by_role("button", name="Save again").click()
    expect(grid.locator("#saved")).to_have_attribute("data-state", "saved")
    expect(grid.locator(".hilum-unsaved")).to_have_count(0)
    expect(grid.get_by_role("button", name="Save again")).to_be_hidden()
    assert labels(grid)[:2] == ["normal", "unsure"]


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_label_that_did_not_arrive_is_sent_again_automatically(grid: Page) -> None:
    press(grid, "ArrowRight")
    grid.route("**/labels/", lambda route: route.fulfill(status=500, json={"error": "The disk is full."}), times=1)
    press(grid, "a")
    expect(grid.locator("#saved")).to_contain_text("The disk is full. Trying again.")
    expect(grid.locator("#saved")).to_contain_text("Saved: 1 film normal. ")
    assert LabelEvent.objects.filter(value="normal").count() == 1


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_film_left_before_its_label_was_saved_is_labelled_by_the_next_page(grid: Page) -> None:
    press(grid, "ArrowRight", "Enter")
    grid.wait_for_url("**/images/**")
    expect(grid.locator("#labelbar")).to_have_attribute("data-keys", "ready")
    grid.route("**/labels/", lambda route: route.abort(), times=1)
    first = grid.url
    press(grid, "a", "ArrowRight")
    grid.wait_for_url(lambda url: url != first)
    expect(grid.locator("#saved")).to_have_attribute("data-state", "saved")
    assert LabelEvent.objects.get(value="normal").image == Image.objects.order_by("pk")[0]


@pytest.mark.usefixtures("routed_from_the_start")
def test_an_answer_that_was_lost_does_not_label_twice(grid: Page) -> None:
    def lose_the_answer(route: Any) -> None:
        route.fetch()
        route.abort()

    press(grid, "ArrowRight")
    grid.route("**/labels/", lose_the_answer, times=1)
    press(grid, "a")
    expect(grid.locator("#saved")).to_contain_text("Saved: 1 film normal. ")
    assert LabelEvent.objects.filter(value="normal").count() == 1


# Undo affects only visible films ---------------------------------------------------------------------------------


def earlier_act(of_films: int = 3) -> None:
    """Kim labels the first films before the page is opened."""
    films = list(Image.objects.order_by("pk")[:of_films])
    kim, place = User.objects.get(username="kim"), films[0].dataset.site
    factories.label_films(images=films, value="exclude", author=kim, site=place)


def answer_questions(page: Page, *, yes: bool) -> list[str]:
    questions: list[str] = []

    def answer(dialog: Dialog) -> None:
        questions.append(dialog.message)
        dialog.accept() if yes else dialog.dismiss()

    page.on("dialog", answer)
    return questions


def test_an_earlier_act_is_not_undone_without_confirmation(grid: Page) -> None:
    earlier_act()
    questions = answer_questions(grid, yes=False)
    press(grid, "ArrowRight", "a", "z")
    expect(grid.locator("#saved")).to_have_text("Undone: the label of 1 film taken back")
    assert not questions  # an act of this page needs no confirmation
    press(grid, "z")
    expect(grid.locator("#saved")).to_have_text("Nothing was undone")
    names = ", ".join(str(film) for film in Image.objects.order_by("pk")[:3])
    assert questions[0].startswith(f"Undo “exclude” of 3 films ({names}), given on 20")
    assert not LabelEvent.objects.filter(reverts__value="exclude").exists()


def test_an_earlier_act_is_undone_after_confirmation(grid: Page) -> None:
    earlier_act(of_films=5)
    questions = answer_questions(grid, yes=True)
    press(grid, "z")
    expect(grid.locator("#saved")).to_have_text("Undone: the label of 5 films taken back")
    assert "and 2 more" in questions[0]
    assert labels(grid) == ["abnormal"] * 6


def test_on_a_film_undo_skips_acts_on_other_films(grid: Page) -> None:
    earlier_act()
    questions = answer_questions(grid, yes=True)
    grid.locator(".hilum-tile a").last.click()
    grid.wait_for_url("**/images/**")
    expect(grid.locator("#labelbar")).to_have_attribute("data-keys", "ready")
    expect(grid.locator("#history li")).to_have_count(1)
    press(grid, "z")
    expect(grid.locator("#saved")).to_have_text("Not undone. You have nothing to undo on this film.")
    assert not questions
    assert not LabelEvent.objects.filter(reverts__isnull=False).exists()


def test_undo_goes_back_to_the_film_and_waits_for_its_label(grid: Page) -> None:
    grid.evaluate(SLOW)
    press(grid, "ArrowRight", "a", "z")
    expect(grid.locator(".hilum-tile a:focus")).to_have_accessible_name("Film 1, abnormal")
    expect(grid.locator("#saved")).to_have_text("Undone: the label of 1 film taken back")
    assert labels(grid) == ["abnormal"] * 6
    assert LabelEvent.objects.filter(reverts__value="normal").count() == 1


@pytest.mark.usefixtures("routed_from_the_start")
def test_an_undo_that_failed_is_tried_again(grid: Page) -> None:
    press(grid, "ArrowRight", "a")
    expect(grid.locator("#saved")).to_contain_text("Saved: 1 film normal. ")
    grid.route("**/labels/undo/", lambda route: route.abort(), times=1)
    press(grid, "z")
    expect(grid.locator("#saved")).to_contain_text("1 change not saved, kept in this browser")
    expect(grid.locator("#saved")).to_have_text("Undone: the label of 1 film taken back")


@pytest.mark.usefixtures("routed_from_the_start")
def test_undo_of_a_label_that_was_not_saved_takes_its_mark_away(grid: Page) -> None:
    press(grid, "ArrowRight", "a")
    grid.route("**/labels/", lambda route: route.abort(), times=1)
    press(grid, "d")
    expect(grid.locator(".hilum-unsaved")).to_have_text("unsure not saved")
    press(grid, "z")
    expect(grid.locator(".hilum-unsaved")).to_have_count(0)
    assert labels(grid)[0] == "normal"  # the label before it stays
