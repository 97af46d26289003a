"""A reader study in a real browser: two readers, from the assignment to the export."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from analysis.models import HeatmapUse, Reading, Worklist, WorklistAssignment
from analysis.reading.worklists import hand_back
from ml_engine.models import Score
from portal.models import Exposure, Role, User
from tests.analysis.scored import Scored, scored_run
from tests.analysis.worklists import calibrated, items, read_study, study
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def scored(live_server: Any, data_dir: Any) -> Scored:
    made = scored_run(factories.site(), author=factories.user("analyst", Role.ANALYST))
    calibrated(made.run, [1.0, 2.0, 3.0, 4.0])
    return made


@pytest.fixture
def of(scored: Scored) -> Worklist:
    """8 films, one of them shown twice: 17 readings."""
    return study(scored, User.objects.get(username="analyst"), most=8, repeat_share=0.1)


def wait_for_stage(page: Page, place: int, stage: str) -> None:
    """Wait until the film at this place can be read in this stage."""
    expect(page.locator("#reading")).to_have_attribute("data-film", str(place - 1))
    expect(page.locator("#reading")).to_have_attribute("data-state", "ready")
    expect(page.locator("#stage")).to_have_attribute("data-stage", stage)
    expect(page.locator("#rating-set:not([disabled])")).to_be_visible()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def begin(page: Page, live_server: Any, of: Worklist) -> None:
    page.goto(f"{live_server.url}/reading/{of.uuid}/")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_selector("#reading")


def order_of(page: Page, of: Worklist) -> list[tuple[Any, list[str]]]:
    """The showings and their stages, in the reader's order."""
    rows = page.evaluate(f"fetch('/api/v1/worklists/{of.uuid}/items/').then((answer) => answer.json())")["items"]
    by_uuid = {str(item.uuid): item for item in items(of)}
    return [(by_uuid[row["item"]], row["stages"]) for row in rows]


def read_by_keyboard(page: Page, of: Worklist) -> None:
    """Flagged films are abnormal, the others normal; a disagreement on the films that are not flagged."""
    for place, (item, stages) in enumerate(order_of(page, of), start=1):
        wait_for_stage(page, place, "unaided")
        press(page, *(["s", "8", "Enter"] if item.flagged else ["a", "1", "5", "Enter"]))
        if "aided" in stages:
            wait_for_stage(page, place, "aided")
            press(page, *(["."] if item.flagged else ["2", ",", "2"]))


def test_a_two_stage_study_by_two_readers_from_assignment_to_export(
    page: Page, live_server: Any, sign_in: Any, scored: Scored, tmp_path: Any
) -> None:
    anna, ben = (factories.user(name, Role.READER) for name in ("anna", "ben"))
    factories.user("outsider", Role.READER)
    # an analyst makes the study and assigns it
    analyst = User.objects.get(username="analyst")
    sign_in(analyst)
    page.goto(f"{live_server.url}/reading/new/?run={scored.run.uuid}")
    page.get_by_label("Name").fill("Does it help?")
    page.get_by_label("Operating point").select_option("tune sensitivity")
    page.get_by_label("Reached there").fill("0.85")
    page.get_by_label("Films at most").fill("6")
    page.get_by_label("Unflagged films mixed in, %").fill("50")
    page.get_by_label("anna").check()
    page.get_by_label("Reader study").select_option("sequential")
    page.get_by_label("Films of a study shown twice, %").fill("20")
    page.get_by_role("button", name="Make the worklist").click()
    page.wait_for_url("**/summary/")
    of = Worklist.objects.get()
    page.get_by_role("link", name="Study").click()
    page.get_by_label("Reader", exact=True).select_option("ben")
    page.get_by_role("button", name="Assign").click()
    expect(page.locator("#assignments")).to_contain_text("ben")
    assert set(WorklistAssignment.objects.values_list("reader__username", flat=True)) == {"anna", "ben"}
    assert of.counts["repeats"] == 1
    # somebody else does not see it
    sign_in(User.objects.get(username="outsider"))
    page.goto(f"{live_server.url}/reading/")
    expect(page.get_by_text("Does it help?")).to_have_count(0)
    # both read it
    for person in (anna, ben):
        sign_in(person)
        begin(page, live_server, of)
        read_by_keyboard(page, of)
        expect(page.locator("#finished")).to_be_visible()
        expect(page.locator("#kept")).to_have_text("Saved")
        assert Reading.objects.filter(reader=person).count() == 13
    readings = Reading.objects.filter(reader=anna).select_related("item")
    assert {(r.item.flagged, r.stage, r.verdict, r.confidence, r.agreement, r.reason) for r in readings} == {
        (True, "unaided", "abnormal", 80, "", ""),
        (True, "aided", "abnormal", 80, "agree", ""),
        (False, "unaided", "normal", 15, "", ""),
        (False, "aided", "normal", 20, "disagree", "device"),
    }
    assert {(r.stage, r.model_shown) for r in readings if not r.item.repeat} == {("unaided", False), ("aided", True)}
    # the analyst states the reference, sees the results and takes the ratings away
    sign_in(analyst)
    page.goto(f"{live_server.url}/reading/{of.uuid}/study/")
    expect(page.locator("#progress")).to_contain_text("13 of 13")
    expect(page.locator("#why-not")).to_contain_text("State first what the readers are compared with")
    page.get_by_label("Source").select_option("follow-up")
    page.get_by_label("Who labelled the films, and from what").fill("Records of two years")
    page.get_by_role("button", name="State the reference").click()
    expect(page.locator("#difference")).to_contain_text("Mean AUROC without the model")
    expect(page.locator("#readers")).to_contain_text("anna")
    expect(page.locator("#repeats")).to_contain_text("Films read twice: 1.")
    expect(page.locator("#study-roc .legendtext").first).to_contain_text("Model alone")
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="CSV for iMRMC").click()
    path = tmp_path / "imrmc.csv"
    downloaded.value.save_as(path)
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["readerID"], row["modalityID"]) for row in rows} == {
        ("truth", "truth"), *((name, stage) for name in ("anna", "ben") for stage in ("unaided", "aided")),
    }  # fmt: skip
    assert len(rows) == 6 + 2 * 2 * 6


def test_nothing_of_the_model_reaches_the_browser_before_the_lock(
    page: Page, live_server: Any, sign_in: Any, of: Worklist
) -> None:
    anna = factories.user("anna", Role.READER)
    sign_in(anna)
    bodies: list[str] = []

    def listen(request: Request) -> None:
        response = request.response()
        is_text = response is not None and "json" in response.headers.get("content-type", "")
        bodies.append(f"{request.url} {response.text() if is_text and response else ''}")

    page.on("requestfinished", listen)
    begin(page, live_server, of)
    place, item = next(
        (place, item) for place, (item, stages) in enumerate(order_of(page, of), start=1) if "aided" in stages
    )
    for before in range(1, place):
        wait_for_stage(page, before, "unaided")
        press(page, "a", "1", "Enter")
    wait_for_stage(page, place, "unaided")
    press(page, "h", "a", "9")  # no heatmap yet
    expect(page.locator("#heatmap")).to_be_hidden()
    expect(page.locator("#revealed")).to_be_hidden()
    assert not [body for body in bodies if "reveal" in body.split()[0] or body.split()[0].endswith("overlay")]
    assert not Exposure.objects.exists()
    press(page, "Enter")  # normal and 90: asked once
    expect(page.locator("#trouble")).to_contain_text("You call the film normal and rate its abnormality 90")
    press(page, "0", "4", "Enter")
    wait_for_stage(page, place, "aided")
    score = Score.objects.get(run=of.run, image=item.image).fused_score
    expect(page.locator("#revealed-words")).to_contain_text(f"Score {score:.3g}, higher than")
    expect(page.locator("#stage")).to_have_text("With the model. Locked without it: normal, 4.")
    page.wait_for_function("() => document.querySelector('[data-hilum-viewer]').hilumViewer.state.look !== null")
    expect(page.locator("#heatmap")).to_have_attribute("aria-pressed", "true")
    assert HeatmapUse.objects.get().item == item
    assert Reading.objects.get(stage="unaided", item=item).confidence == 4


@pytest.mark.usefixtures("routed_from_the_start")
def test_a_reading_that_is_not_stored_yet_is_not_revealed(
    page: Page, live_server: Any, sign_in: Any, of: Worklist
) -> None:
    anna = factories.user("anna", Role.READER)
    sign_in(anna)
    begin(page, live_server, of)
    place = next(place for place, (_, stages) in enumerate(order_of(page, of), start=1) if "aided" in stages)
    for before in range(1, place):
        wait_for_stage(page, before, "unaided")
        press(page, "a", "1", "Enter")
    wait_for_stage(page, place, "unaided")
    expect(page.locator("#kept")).to_have_text("Saved" if place > 1 else "")
    page.route("**/readings/", lambda route: route.abort())
    press(page, "s", "9", "Enter")
    expect(page.locator("#stage")).to_contain_text("Your reading is kept in this browser and not stored yet")
    expect(page.locator("#trouble")).to_contain_text("The server does not answer. 1 reading is kept in this browser")
    expect(page.locator("#rating-set[disabled]")).to_be_visible()
    press(page, ".", "s", "Enter")  # nothing can be saved
    assert not HeatmapUse.objects.exists()
    page.reload()  # the kept reading waits on
    expect(page.locator("#stage")).to_contain_text("Your reading is kept in this browser and not stored yet")
    page.unroute("**/readings/")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    wait_for_stage(page, place, "aided")
    press(page, ",", "4")
    wait_for_stage(page, place + 1, "unaided")
    expect(page.locator("#kept")).to_have_text("Saved")
    stages = Reading.objects.filter(reader=anna).order_by("pk").values_list("stage", "agreement", "reason")
    assert list(stages)[-2:] == [("unaided", "", ""), ("aided", "disagree", "artefact")]


def test_the_rating_by_arrows_slider_and_number(page: Page, live_server: Any, sign_in: Any, of: Worklist) -> None:
    sign_in(factories.user("anna", Role.READER))
    begin(page, live_server, of)
    wait_for_stage(page, 1, "unaided")
    number = page.locator("#rating-number")
    expect(number).to_have_value("")  # none is chosen for the reader
    press(page, "a", "Enter")
    expect(page.locator("#trouble")).to_contain_text("Rate the likelihood that the film is abnormal")
    for keys, value in ((["7"], "70"), (["3"], "73"), (["1", "0", "0"], "100"), (["ArrowDown"], "99"),
                        (["PageDown"], "89"), (["0", "7"], "7"), (["ArrowUp"], "8")):  # fmt: skip
        press(page, *keys)
        expect(number).to_have_value(value)
    number.fill("12")
    press(page, "Enter")  # leaves the field
    expect(page.locator("#rating")).to_have_value("12")
    page.reload()  # the draft stays
    wait_for_stage(page, 1, "unaided")
    expect(number).to_have_value("12")
    press(page, "Enter")
    expect(page.locator("#kept")).to_have_text("Saved")
    assert Reading.objects.get().confidence == 12


def test_the_aided_session_of_a_crossover_reveals_at_once(
    page: Page, live_server: Any, sign_in: Any, scored: Scored
) -> None:
    of = study(scored, User.objects.get(username="analyst"), most=4, design="crossover", repeat_share=0)
    for name in ("anna", "ben"):  # balanced: one of the two begins with the model
        sign_in(factories.user(name, Role.READER))
        begin(page, live_server, of)
        stage = of.readers.get(reader__username=name).first_stage
        for place in range(1, 5):
            wait_for_stage(page, place, stage)
            press(page, "a", "1", "Enter" if stage == "unaided" else ".")
        expect(page.locator("#finished")).to_be_visible()
        expect(page.locator("#kept")).to_have_text("Saved")
        page.reload()
        expect(page.get_by_text(re.compile("Your second session opens on"))).to_be_visible()
    assert set(of.readers.values_list("first_stage", flat=True)) == {"unaided", "aided"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_pages_of_a_study(
    page: Page, live_server: Any, of: Worklist, sign_in: Any, theme: str
) -> None:
    from analysis.reading.study_reference import state_reference

    person = factories.user("all", *Role, theme=theme)
    for name in ("anna", "ben"):
        read_study(of, factories.user(name, Role.READER), lambda item, stage: "abnormal" if item.flagged else "normal")
    sign_in(person)
    problems = {}
    page.goto(f"{live_server.url}/reading/{of.uuid}/study/")
    problems["without a reference"] = serious_findings(page)
    state_reference(worklist=of, source="ct", statement="CT", author=person)
    for address in ("study/", "summary/", ""):
        page.goto(f"{live_server.url}/reading/{of.uuid}/{address}")
        problems[address] = serious_findings(page)
    page.goto(f"{live_server.url}/reading/new/")
    problems["new/"] = serious_findings(page)
    reader = factories.user("reader", Role.READER)
    sign_in(reader)
    begin(page, live_server, of)
    wait_for_stage(page, 1, "unaided")
    problems["first stage"] = serious_findings(page)
    place = next(place for place, (_, stages) in enumerate(order_of(page, of), start=1) if "aided" in stages)
    for at in range(1, place + 1):
        wait_for_stage(page, at, "unaided")
        press(page, "s", "8", "Enter")
    wait_for_stage(page, place, "aided")
    press(page, ",")
    expect(page.locator("#reasons")).to_be_visible()
    problems["second stage"] = serious_findings(page)
    assert {address: lines for address, lines in problems.items() if lines} == {}


def test_a_reading_of_a_study_that_was_handed_back_elsewhere_stays_on_the_page(
    page: Page, live_server: Any, sign_in: Any, of: Worklist
) -> None:
    anna = factories.user("anna", Role.READER)
    sign_in(anna)
    begin(page, live_server, of)
    wait_for_stage(page, 1, "unaided")
    hand_back(worklist=of, reader=anna)
    press(page, "s", "8", "Enter")
    expect(page.locator("#trouble")).to_contain_text("Film 1 was not saved. You handed this worklist back on")
    wait_for_stage(page, 1, "unaided")
    expect(page.locator("#rating-number")).to_have_value("80")
    expect(page.locator("[data-verdict=abnormal]")).to_have_attribute("aria-pressed", "true")
    assert not Reading.objects.exists()
    begin(page, live_server, of)
    wait_for_stage(page, 1, "unaided")
    expect(page.locator("#rating-number")).to_have_value("80")
    _, stages = order_of(page, of)[0]  # a film that comes again is read without the model alone at first
    press(page, "Enter")
    if "aided" in stages:
        wait_for_stage(page, 1, "aided")
    else:
        wait_for_stage(page, 2, "unaided")  # shown while the reading is still on its way
    expect(page.locator("#kept")).to_have_text("Saved")
    assert Reading.objects.get().confidence == 80
