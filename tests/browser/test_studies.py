"""A sweep as a person does it: requested in the browser, carried out by the real engine, sorted, and shown on test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from ml_engine.models import Run, RunState
from ml_engine.runs import lifecycle, supervisor
from portal.models import Role
from tests.analysis import laid
from tests.browser.axe import serious_findings
from tests.browser.run_form import open_themes
from tests.ml_engine import made
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]

SETTINGS = "\n".join(
    f"{name}={text}" for name, text in made.SMALL.items() if name not in ("weights", "rate") and "align" not in name
)


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


def numbers(page: Page, part: str) -> list[float]:
    """The AUROCs of the table's rows, from the page's data attributes."""
    cells = page.locator(f"#rows td[data-part={part}]")
    return [float(cells.nth(k).get_attribute("data-auroc") or "nan") for k in range(cells.count())]


def test_a_sweep_from_its_form_to_its_test_figures(
    page: Page, live_server: Any, data_dir: Path, sign_in: Any, client: Client
) -> None:
    analyst = factories.user("ana", Role.ANALYST)
    split = laid.split_with_films(factories.site())
    sign_in(analyst)
    client.force_login(analyst)

    page.goto(f"{live_server.url}/splits/{split.uuid}/")
    page.get_by_role("link", name="Sweep settings").click()
    expect(page.locator("#forecast")).to_have_text("This makes 1 alignment and 6 detectors on 1 set of features.")
    open_themes(page)
    page.get_by_label("Alignment", exact=True).select_option("none")
    page.get_by_label("Backbone weights").select_option("random")
    page.get_by_label("Rate s").fill("0.1, 0.3")
    page.get_by_label("Neighbours K").fill("")
    page.get_by_label("Settings as text").fill(SETTINGS)
    page.get_by_label("Seed").fill("0, 1")
    expect(page.locator("#forecast")).to_have_text("This makes 4 detectors on 2 sets of features.")
    page.get_by_role("button", name="Queue the run").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sweep")
    run = Run.objects.get()
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message) == (RunState.DONE, "")

    page.goto(f"{live_server.url}/runs/{run.uuid}/")
    page.get_by_role("link", name="See the results").first.click()
    data = client.get(f"/api/v1/runs/{run.uuid}/sweep/").json()
    assert numbers(page, "tune") == pytest.approx([row["aurocs"]["tune"]["auroc"] for row in data["rows"]], abs=1e-9)
    assert len(data["rows"]) == 4
    assert numbers(page, "test") == []
    page.get_by_role("button", name="Show test").press("Enter")
    expect(page.locator("#looks")).to_have_text("1")
    data = client.get(f"/api/v1/runs/{run.uuid}/sweep/").json()
    for part in ("tune", "test"):
        expected = [row["aurocs"][part]["auroc"] for row in data["rows"]]
        assert numbers(page, part) == pytest.approx(expected, abs=1e-9)
    expect(page.locator("#rate-test .main-svg").first).to_be_visible()
    page.locator("#rows").get_by_role("link", name="AUROC on tune").press("Enter")
    expect(page.locator("#rows th[aria-sort=descending]")).to_contain_text("AUROC on tune")
    assert numbers(page, "tune") == sorted(numbers(page, "tune"), reverse=True)
    assert serious_findings(page) == []


def test_the_papers_figures_are_drawn_and_lead_to_films(
    page: Page, live_server: Any, data_dir: Path, sign_in: Any, client: Client
) -> None:
    analyst = factories.user("ana", Role.ANALYST)
    run = laid.ablation(laid.split_with_films(factories.site()))
    sign_in(analyst)
    client.force_login(analyst)

    page.goto(f"{live_server.url}/results/runs/{run.uuid}/ablation/")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Show test").click()

    data = client.get(f"/api/v1/runs/{run.uuid}/ablation/").json()
    numbers_shown = page.locator("#cells td[data-auroc]")
    expected = [row["aurocs"][column]["auroc"] for row in data["cells"] for column in ("global", "region", "fused")]
    aurocs = [float(numbers_shown.nth(k).get_attribute("data-auroc") or "nan") for k in range(numbers_shown.count())]
    assert aurocs == pytest.approx(expected, abs=1e-9)
    differences = page.locator("#cells [data-difference]")
    assert float(differences.first.get_attribute("data-difference") or "nan") == pytest.approx(
        data["cells"][1]["differences"]["fused"]["difference"], abs=1e-9
    )
    for number in range(1, 5):
        expect(page.locator(f"#figure-{number} .main-svg").first).to_be_visible()
    assert serious_findings(page) == []
    page.get_by_role("link", name="abnormal, highest score").press("Enter")
    expect(page.get_by_role("heading", name="Scores by the detector “aligned, masked”")).to_be_visible()
    expect(page.locator("[data-hilum-viewer] canvas").first).to_be_visible()
