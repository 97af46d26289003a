"""From a dataset to its ROC curve in a real browser: the acts of a person, and what the page shows meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from analysis.evaluation.set_evaluation import advance
from analysis.models import SetEvaluation, TestLook
from ml_engine.models import RunState
from portal.models import Role
from tests.analysis.scored import scored_run
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

NOTICES = """
window.Notification = class {
  static permission = "default";
  static async requestPermission() { return (Notification.permission = localStorage.permission = "granted"); }
  constructor(title, options) { localStorage.notices = `${title}: ${options.body}`; }
};
if (localStorage.permission) window.Notification.permission = localStorage.permission;
"""


def test_two_clicks_lead_from_a_dataset_to_its_roc_curve(
    page: Page, live_server: Any, sign_in: Any, data_dir: Path
) -> None:
    boss = factories.user("boss", *Role)
    scored = scored_run(factories.site(), author=boss)
    sign_in(boss)
    page.add_init_script(NOTICES)
    page.goto(f"{live_server.url}/datasets/{scored.films[0].dataset.uuid}/")
    page.get_by_role("link", name="Evaluate this set").click()
    expect(page.locator("#look")).to_contain_text("It is counted and audited under your name")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Evaluate", exact=True).click()

    expect(page.locator("li", has_text="Fit the detector").locator(".state")).to_have_text("Waiting")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Show a notice at the end").click()
    expect(page.get_by_role("button", name="A notice is shown at the end")).to_be_visible()
    row = SetEvaluation.objects.get()
    assert row.score is not None
    score = row.score
    score.state, score.lease_owner, score.lease_until = RunState.RUNNING, "w", score.created_at
    score.stage, score.stage_index, score.stage_count, score.done, score.total = "maps", 2, 4, 3, 24
    score.save()
    step = page.locator("li", has_text="Score the films")
    expect(step).to_contain_text("stage 3 of 4, scoring films: 3 of 24")
    assert TestLook.objects.count() == 0

    SetEvaluation.objects.update(score=scored.run, split=scored.split)  # whose films are scored
    advance(row.uuid)
    expect(page.locator("#roc .main-svg").first).to_be_visible(timeout=30_000)  # its band is drawn at first sight
    assert page.url.endswith("?part=test#roc")
    assert TestLook.objects.count() == 1
    assert page.evaluate("localStorage.notices") == f"{row.name}: It is evaluated."
