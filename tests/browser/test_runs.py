"""Pages that poll a run keep focus, selection and scroll position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ml_engine.models import Run, RunState
from ml_engine.runs import paths
from portal.models import Role
from tests.ml_engine import made

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def run(data_dir: Path, sign_in: Any) -> Run:
    at = made.site()
    sign_in(made.person("ana", at=at, role=Role.ANALYST))
    run = made.run(made.split(at), name="Mine", state=RunState.RUNNING, stage="banks", done=1, total=10)
    write_log(run, lines=range(100))
    return run


def write_log(run: Run, *, lines: range) -> None:
    folder = paths.run_folder(run.uuid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.txt").write_text("".join(f"line {number} of the log {'and so on ' * 40}\n" for number in lines))


def set_done(run: Run, done: int) -> None:
    Run.objects.filter(pk=run.pk).update(done=done)


def test_focus_and_links_survive_an_update_of_the_list(page: Page, live_server: Any, run: Run) -> None:
    page.goto(f"{live_server.url}/runs/")
    page.get_by_role("link", name="Mine").focus()
    page.evaluate("window.row = document.querySelector('#runs tbody tr')")
    made.run(run.split, name="Another")
    set_done(run, 7)
    expect(page.locator("#runs tr", has_text="Mine").locator("progress")).to_have_attribute("value", "7")
    expect(page.get_by_role("link", name="Mine")).to_be_focused()
    expect(page.locator("#runs tbody tr")).to_have_count(2)
    expect(page.locator("#runs tbody tr").first).to_contain_text("Another")
    assert page.evaluate("document.activeElement.closest('tr') === window.row")


def test_the_list_stops_polling_when_all_runs_have_ended(page: Page, live_server: Any, run: Run) -> None:
    page.goto(f"{live_server.url}/runs/")
    page.get_by_role("link", name="Mine").focus()
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE)
    expect(page.locator("#runs .state")).to_have_text("Done")
    expect(page.get_by_role("link", name="Mine")).to_be_focused()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.wait_for_timeout(2500)
    assert not requested


def distance_from_line_90(page: Page) -> float:
    """The distance of line 90 from the top of the log's window, in pixels."""
    return page.evaluate(
        """() => {
            const log = document.getElementById("log"), text = log.firstChild, range = document.createRange();
            range.setStart(text, text.data.indexOf("line 90 of"));
            range.setEnd(text, text.data.indexOf("line 90 of") + 4);
            return range.getBoundingClientRect().top - log.getBoundingClientRect().top;
        }"""
    )


def test_the_log_follows_its_end_unless_scrolled_up(page: Page, live_server: Any, run: Run) -> None:
    page.goto(f"{live_server.url}/runs/{run.uuid}/")
    log = page.locator("#log")
    at_end = "log => log.scrollHeight - log.scrollTop - log.clientHeight < 8"
    expect(log).to_contain_text("line 99 of")
    assert log.evaluate(at_end)
    write_log(run, lines=range(102))
    expect(log).to_contain_text("line 101 of")
    assert log.evaluate(at_end)
    log.evaluate("log => { log.scrollTop -= 200; }")
    before = distance_from_line_90(page)
    write_log(run, lines=range(104))
    expect(log).to_contain_text("line 103 of")
    assert distance_from_line_90(page) == pytest.approx(before, abs=1)


def test_a_selection_in_the_log_survives_an_update(page: Page, live_server: Any, run: Run) -> None:
    page.goto(f"{live_server.url}/runs/{run.uuid}/")
    page.get_by_role("link", name="Whole log").focus()
    page.evaluate(
        """() => {
            const text = document.getElementById("log").firstChild, range = document.createRange();
            const at = text.data.indexOf("line 95 of");
            range.setStart(text, at);
            range.setEnd(text, at + 7);
            getSelection().removeAllRanges();
            getSelection().addRange(range);
        }"""
    )
    write_log(run, lines=range(104))
    set_done(run, 8)
    expect(page.locator("#log")).to_contain_text("line 103 of")
    assert page.evaluate("getSelection().toString()") == "line 95"
    expect(page.get_by_role("link", name="Whole log")).to_be_focused()


def test_a_forecast_that_a_newer_one_replaces_is_no_error(page: Page, live_server: Any, run: Run) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto(f"{live_server.url}/runs/new/fit_detector/?split={run.split.uuid}", wait_until="networkidle")
    with page.expect_event("requestfailed") as replaced, page.expect_event("requestfinished") as newer:
        page.locator("[name=preset]").evaluate(
            """(field) => {
              for (const preset of ["paper", "default"]) {
                field.value = preset;
                field.dispatchEvent(new Event("change", { bubbles: true }));
              }
            }"""
        )
    assert replaced.value.failure == "net::ERR_ABORTED"
    assert newer.value.url == replaced.value.url
    assert said == []


@pytest.mark.browser_context_args(timezone_id="Asia/Seoul")
def test_a_log_is_in_the_time_of_its_reader(page: Page, live_server: Any, run: Run) -> None:
    """As all other times of the page, also once more of it has come."""
    log = paths.run_folder(run.uuid) / "log.txt"
    log.write_text("2026-11-30 18:04:12Z Stage banks begins.\n  2026-11-30 18:04:12Z is no beginning of a line\n")
    page.goto(f"{live_server.url}/runs/{run.uuid}/")
    shown = page.locator("#log")
    expect(shown).to_contain_text("2026-12-01 03:04:12 Stage banks begins.")
    with log.open("a") as lines:
        lines.write("2026-11-30 18:05:13Z Stage mask begins.\n")
    expect(shown).to_contain_text("2026-12-01 03:05:13 Stage mask begins.")
    expect(shown).to_contain_text("2026-11-30 18:04:12Z is no beginning")


def test_a_failed_run_takes_a_few_lines_on_a_phone(page: Page, live_server: Any, run: Run) -> None:
    sentence = "The run has used 0.57 GiB of memory in the stage films, and memory_gib allows it 0.20: choose more."
    Run.objects.filter(pk=run.pk).update(state=RunState.FAILED, message=sentence)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/runs/")
    row = page.locator("#runs tbody tr").bounding_box()
    assert row is not None
    assert row["height"] < 90
