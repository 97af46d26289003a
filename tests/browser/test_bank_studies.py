"""Bank studies and blind spots in a browser: the figures show the numbers of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import Role
from tests.analysis import studied
from tests.browser.axe import serious_findings
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def analyst(live_server: Any, data_dir: Path, sign_in: Any) -> Any:
    person = factories.user("analyst", Role.ANALYST)
    sign_in(person)
    return person


def traces(page: Page, figure: str) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = page.evaluate(
        "name => document.getElementById(name).data.map("
        "({name, x, y, z, error_y}) => ({name, x, y, z, up: error_y?.array, down: error_y?.arrayminus}))",
        figure,
    )
    return traces


def test_a_bank_study_is_shown_after_a_look_and_draws_the_apis_numbers(
    page: Page, live_server: Any, analyst: Any
) -> None:
    run, _ = studied.bank_study(factories.site())
    page.goto(f"{live_server.url}/results/bank-studies/{run.uuid}/")
    expect(page.locator("#looks")).to_have_text("0")
    page.get_by_role("button", name="Show test").press("Enter")
    expect(page.locator("#study")).to_have_attribute("data-drawn", "yes")
    expect(page.locator("#looks")).to_have_text("1")

    data = page.request.get(f"{live_server.url}/api/v1/bank-studies/{run.uuid}/").json()
    for by, points in (("size", data["by_size"]), ("contamination", data["by_contamination"])):
        drawn = {trace["name"].split(":")[0]: trace for trace in traces(page, f"auroc-by-{by}")}
        for name in ("global", "region", "fused"):
            assert drawn[name.capitalize()]["y"] == pytest.approx([p["mean"] for p in points[name]], abs=1e-9)
        fused = points["fused"]
        band = drawn["95 % interval over test films (mean of the draws)"]["y"]
        assert band == pytest.approx([p["high"] for p in fused] + [p["low"] for p in fused[::-1]], abs=1e-9)
        tops = [y + up for y, up in zip(drawn["Fused"]["y"], drawn["Fused"]["up"], strict=True)]
        assert tops == pytest.approx([p["highest"] for p in fused], abs=1e-9)
        alarms = {trace["name"].split(":")[0]: trace for trace in traces(page, f"alarms-by-{by}")}
        assert alarms["Fused"]["y"] == pytest.approx([p["mean"] for p in points["false alarms"]], abs=1e-9)
    bank = data["cells"][1]
    row = page.locator(f"[data-bank='{bank['name']}']")
    expect(row).to_contain_text(f"{bank['aurocs']['fused']['auroc']:.3f}")
    assert serious_findings(page) == []


def test_blind_spots_draw_the_apis_numbers(page: Page, live_server: Any, analyst: Any) -> None:
    run, _ = studied.blind_spots(factories.site(), random_weights=True)
    page.set_viewport_size({"width": 768, "height": 900})
    page.goto(f"{live_server.url}/results/blind-spots/{run.uuid}/")
    expect(page.locator("#study")).to_have_attribute("data-drawn", "yes")
    expect(page.get_by_role("note").filter(has_text="random weights")).to_be_visible()
    data = page.request.get(f"{live_server.url}/api/v1/blind-spots/{run.uuid}/").json()
    for kind in ("nodule", "effusion", "pneumothorax"):
        drawn = {trace["name"].split(":")[0]: trace for trace in traces(page, f"sensitivity-{kind}")}
        for contrast in (0.05, 0.1, 0.2):
            groups = [g for g in data["groups"] if g["kind"] == kind and g["contrast"] == contrast]
            line = drawn[f"Contrast {contrast:g}"]
            rates = [group["maps"][2]["found"] for group in groups]
            assert line["x"] == [group["size_mm"] for group in groups]
            assert line["y"] == pytest.approx([rate["value"] for rate in rates], abs=1e-9)
            low = [y - down for y, down in zip(line["y"], line["down"], strict=True)]
            assert low == pytest.approx([rate["low"] for rate in rates], abs=1e-8)
        grid, _ = traces(page, f"places-{kind}")
        for place in data["places"][kind]:
            expected = place["found"]["value"] if place["found"] else None
            assert grid["z"][place["row"]][place["column"]] == expected
    page_width = page.evaluate("document.documentElement.scrollWidth")
    assert page_width <= 768
    assert serious_findings(page) == []
