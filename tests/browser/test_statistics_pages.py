"""Sample sizes, drift, and the risks of an evaluation in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from analysis.evaluation.evaluate import evaluate
from ml_engine.runs.paths import run_folder
from portal.models import Role
from tests.analysis.scored import scored_dataset, scored_run
from tests.analysis.sections.test_drift import BASE, score_films
from tests.browser.axe import serious_findings
from tests.ml_engine.scored_folders import change_summary
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_pages_draw_their_figures_and_answer(
    page: Page, live_server: Any, data_dir: Path, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.sections.recalibration.LEAST_FILMS", 6)  # the set has 6 of each class
    analyst = factories.user("analyst", Role.ANALYST)
    scored = scored_run(factories.site(), author=analyst, seed=4)
    change_summary(
        run_folder(scored.run.uuid), calibration_scores=BASE.tolist(), calibration_patients=list(range(len(BASE)))
    )
    for name, shift in (("Winter", 0.1), ("Spring", 0.9)):
        later = factories.dataset(name, at=scored.run.site)
        score_films(scored.run, later, normal=np.linspace(2.0, 4.0, 40) + shift, abnormal=np.linspace(4, 6, 31))
        scored_dataset(scored, later)
    evaluation = evaluate(run=scored.run, author=analyst)
    assert scored.run.detector is not None
    sign_in(analyst)

    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{live_server.url}/how-many-films/")
    page.locator("#auroc").get_by_label("Expected AUROC").fill("0.7")
    page.locator("#auroc").get_by_role("button", name="Calculate").click()
    expect(page.locator("#auroc")).to_contain_text("abnormal and 31 normal films")
    assert fits(page)
    assert serious_findings(page) == []

    page.goto(f"{live_server.url}/results/detectors/{scored.run.detector.run.uuid}/drift/")
    expect(page.locator("#drift .js-plotly-plot, #drift.js-plotly-plot").first).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="into Spring")).to_contain_text("0.")
    assert fits(page)
    assert serious_findings(page) == []

    page.goto(f"{live_server.url}/results/")
    page.get_by_role("button", name="Validate externally").first.click()
    expect(page.locator("#external.js-plotly-plot")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("The populations differ in dataset (complete)")
    assert fits(page)
    assert serious_findings(page) == []

    page.goto(f"{live_server.url}/results/{evaluation.uuid}/?part=test")
    page.locator("#recalibration-title").scroll_into_view_if_needed()
    expect(page.locator("#recalibration")).to_contain_text("Distances and conformal p-values are not risks")
    prevalence = page.get_by_label("Prevalence where the risks are to hold")
    prevalence.fill("0.05")
    prevalence.press("Enter")
    expect(page.locator("#decision.js-plotly-plot")).to_be_visible()
    expect(page.locator("#calibration.js-plotly-plot")).to_be_visible()
    expect(page.locator("#recalibration")).to_contain_text("Calibration slope (ideal: 1)")
    assert fits(page)
    assert serious_findings(page) == []
