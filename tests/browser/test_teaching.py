"""From a worklist to a semi-supervised head, and to a second worklist by the combined score, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from analysis.models import HeadProposal, Worklist
from analysis.reading.worklists import WorklistRequest, make_worklist
from ml_engine.models import Run, RunKind, RunState, Score
from ml_engine.runs import lifecycle, supervisor
from portal.models import Role
from tests.browser.axe import serious_findings
from tests.browser.run_form import open_themes
from tests.ml_engine import headed, made
from tests.ml_engine.headed import POOL, READ, Headed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def world(live_server: Any, data_dir: Any) -> Headed:
    """The abnormal films of the pool score highest, and no other film is flagged."""
    world = headed.world()
    confirmed = {film.pk for film in world.pool[POOL:]}
    tune = {film.pk for film in world.parts["tune"]}
    for score in Score.objects.filter(run=world.scored):
        level = 100 if score.image_id in confirmed else 0 if score.image_id in tune else -1
        Score.objects.filter(pk=score.pk).update(fused_score=level - score.row / 1000)
    return world


def read_everything(page: Page, address: str, films: int) -> None:
    """Call every film abnormal, by keyboard, and go to the page of the end."""
    page.goto(address)
    with page.expect_navigation():
        page.get_by_role("button", name="Begin", exact=True).click()
    for place in range(1, films + 1):
        expect(page.locator("#reading")).to_have_attribute("data-film", str(place - 1))
        expect(page.locator("#reading")).to_have_attribute("data-state", "ready")
        page.keyboard.press("s")
        page.keyboard.press("1")
    expect(page.locator("#finished")).to_be_visible()
    expect(page.locator("#kept")).to_have_text("Saved")
    page.get_by_role("link", name="Your verdicts, and teach the model").click()
    expect(page.locator("#verdicts tbody tr")).to_have_count(films)


def ended(run: Run) -> Run:
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.message == ""
    assert run.state == RunState.DONE
    return run


def test_what_a_reader_confirmed_makes_the_next_worklist(
    page: Page, live_server: Any, world: Headed, sign_in: Any
) -> None:
    reader = made.person("rea", at=world.site, role=Role.READER)
    analyst = made.person("ana", at=world.site, role=Role.ANALYST)
    first = make_worklist(
        WorklistRequest(
            run=world.scored, name="First", author=analyst, point="tune specificity", value=0.8, unflagged_share=0.0
        )
    )
    assert first.items.count() == READ

    sign_in(reader)
    read_everything(page, f"{live_server.url}/reading/{first.uuid}/", READ)
    expect(page.get_by_text("flagged by the one-class score").first).to_be_visible()
    assert serious_findings(page) == []
    page.locator("#teach").click()
    expect(page.locator("#proposed")).to_be_visible()
    assert HeadProposal.objects.get().worklist == first

    sign_in(analyst)
    page.goto(f"{live_server.url}/reading/heads/")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("h1")).to_have_text("First: head")
    head = ended(Run.objects.get(kind=RunKind.FIT_HEAD))
    page.reload()
    expect(page.locator("#head-curve")).to_have_attribute("data-drawn", "yes")
    expect(page.locator("#head")).to_contain_text("The interval contains 0.5: the control is passed.")
    expect(page.locator("#reads tbody tr").first).to_contain_text("Read in a worklist")
    assert serious_findings(page) == []

    page.get_by_role("link", name="Score films with it").click()
    expect(page.locator("#id_head")).to_have_value(str(head.uuid))
    page.locator("#id_name").fill("Both")
    for part in ("tune", "test"):
        page.locator(f"input[name=parts][value={part}]").uncheck()
    open_themes(page)
    page.locator("input[name=datasets]").first.check()
    page.get_by_role("button", name="Queue the run").click()
    expect(page.locator("h1")).to_have_text("Both")
    scored = ended(Run.objects.get(name="Both"))

    page.goto(f"{live_server.url}/reading/new/?run={scored.uuid}")
    page.locator("#id_name").fill("Second")
    page.locator("#id_score").select_option("combined")
    page.locator("#id_point").select_option("tune specificity")
    page.locator("#id_value").fill("0.8")
    page.locator("#id_most").fill("4")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Make the worklist").click()
    expect(page.locator("h1")).to_contain_text("Second")
    expect(page.locator("main")).to_contain_text("Semi-supervised: one-class and head combined")
    second = Worklist.objects.get(name="Second")
    assert (second.score, second.items.count()) == ("combined", 4)

    sign_in(reader)
    read_everything(page, f"{live_server.url}/reading/{second.uuid}/", 4)
    for item in second.items.exclude(flagged_by=""):
        expect(page.locator("#verdicts")).to_contain_text(f"flagged by {item.get_flagged_by_display()}")
