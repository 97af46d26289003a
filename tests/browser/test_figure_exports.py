"""Each figure as SVG, PNG and CSV from its page, by mouse and by keyboard."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from analysis.evaluation.evaluate import evaluate
from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.figures.palette import LABELS, PAPER, RUNS, SCORES
from portal.models import Role
from tests.analysis.scored import scored_run
from tests.browser.axe import serious_findings
from tests.paths import ROOT
from tests.portal import factories

SCRIPT = ROOT / "static" / "js" / "figure_export.js"


def test_a_dark_colour_is_exported_as_its_light_partner() -> None:
    """The script's table matches the palette: each colour of the dark theme has one light partner."""
    match = re.search(r"LIGHT_OF_DARK = (\{.*?\});", SCRIPT.read_text(), re.DOTALL)
    assert match
    table = json.loads(re.sub(r",\s*\}", "}", match[1]))
    pairs = [*zip(RUNS["dark"], RUNS["light"], strict=True)]
    expected = [(dark[0], light[0]) for dark, light in pairs]
    for group in (SCORES, LABELS, PAPER):
        expected += [(group["dark"][name], group["light"][name]) for name in group["light"]]
    for dark, light in expected:
        assert table.get(dark, dark) == light, dark
    assert set(table) <= {dark for dark, _ in expected}


@pytest.fixture
def evaluation(page: Page, live_server: Any, data_dir: Path, sign_in: Any) -> Page:
    """The tune part of an evaluation in the dark theme."""
    analyst = factories.user("analyst", Role.ANALYST, theme="dark")
    evaluation = evaluate(run=scored_run(factories.site(), author=analyst).run, author=analyst)
    sign_in(analyst)
    page.goto(f"{live_server.url}/results/{evaluation.uuid}/")
    expect(page.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.6")
    return page


def download_figure(page: Page, figure: str, what: str, *, by_key: bool = False) -> tuple[str, bytes]:
    control = page.locator(f"#{figure} + .hilum-exports").get_by_text(what, exact=True)
    with page.expect_download() as download:
        if by_key:
            control.focus()
            page.keyboard.press("Enter")
        else:
            control.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("figure", ["roc", "sweep", "histogram"])
def test_a_picture_is_light_and_carries_the_notices(evaluation: Page, figure: str) -> None:
    name, svg = download_figure(evaluation, figure, "SVG", by_key=True)
    text = svg.decode()
    assert name == f"hilum-{figure}-tune.svg"
    assert text.startswith("<svg")
    assert NOTICE in text and RANDOM_WEIGHTS in text
    assert "rgb(255, 255, 255)" in text
    for dark in ("#0e0f10", "#d6d8d9", "rgb(14, 15, 16)", "rgb(214, 216, 217)", "rgb(86, 180, 234)"):
        assert dark not in text
    assert f'height="{height_of(evaluation, figure)}"' in text


def height_of(page: Page, figure: str) -> int:
    drawn = json.loads(page.locator("#figures").text_content() or "")
    return int(drawn[figure]["layout"]["height"])


@pytest.mark.django_db(transaction=True)
def test_a_png_has_twice_the_pixels_for_any_window(evaluation: Page) -> None:
    sizes, pictures = [], []
    for width in (1440, 900):
        evaluation.set_viewport_size({"width": width, "height": 800})
        name, png = download_figure(evaluation, "roc", "PNG")
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        assert name == "hilum-roc-tune.png"
        assert picture.getpixel((2, 2)) == (255, 255, 255)
        sizes.append(picture.size)
        pictures.append(picture.tobytes())
    assert sizes == [(1040, 2 * height_of(evaluation, "roc"))] * 2
    assert pictures[0] == pictures[1]


@pytest.mark.django_db(transaction=True)
def test_a_figure_keeps_its_height_when_the_window_changes(evaluation: Page) -> None:
    for width in (900, 1300):
        evaluation.set_viewport_size({"width": width, "height": 800})
        evaluation.wait_for_function("() => document.querySelector('#roc .main-svg')?.clientWidth > 0")
        drawn = "() => document.getElementById('roc')._fullLayout.height"
        assert evaluation.evaluate(drawn) == height_of(evaluation, "roc")


@pytest.mark.django_db(transaction=True)
def test_the_operating_point_is_exported(evaluation: Page) -> None:
    evaluation.goto(evaluation.url + "?part=test")
    evaluation.locator("select[name=rule]").select_option("sensitivity")
    evaluation.locator("select[name=target]").select_option("0.8")
    expect(evaluation.locator("#operating caption").first).to_contain_text("patients of tune")
    before = download_figure(evaluation, "histogram", "SVG")[1].decode()
    assert "Threshold " in before and "No threshold" not in before
    with evaluation.expect_download() as download:
        evaluation.locator("#operating .hilum-exports a").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    numbers = evaluation.locator("#operating [data-threshold]")
    expect(numbers).to_have_attribute("data-threshold", rows[0]["value"])


@pytest.mark.django_db(transaction=True)
def test_a_legend_names_no_mark_that_is_not_drawn(evaluation: Page) -> None:
    """Where no threshold can be fixed there is no operating point."""
    expect(evaluation.locator("#operating")).to_contain_text("A threshold for tune is never fixed on tune itself")
    for name, words in (("roc", "perating point"), ("histogram", "hreshold")):
        assert words not in download_figure(evaluation, name, "SVG")[1].decode()


@pytest.mark.django_db(transaction=True)
def test_the_csv_follows_the_weight(evaluation: Page) -> None:
    evaluation.locator("#weight").evaluate(
        "(slider) => { slider.value = 0.25; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    expect(evaluation.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.25")
    name, content = download_figure(evaluation, "roc", "CSV")
    fused = [row for row in csv.DictReader(io.StringIO(content.decode())) if row["series"] == "fused curve"]
    assert name.startswith("hilum-roc-tune-") and name.endswith(".csv")
    assert {row["fusion_weight"] for row in fused} == {"0.25"}
    area = f"{float(fused[0]['auroc']):.3f} ({float(fused[0]['auroc_low']):.3f}–{float(fused[0]['auroc_high']):.3f})"
    expect(evaluation.locator("[data-auroc=fused]")).to_have_text(area)


@pytest.mark.django_db(transaction=True)
def test_a_figure_without_an_address_exports_its_drawn_data(evaluation: Page) -> None:
    evaluation.evaluate(
        """async () => {
          const figure = document.createElement("figure");
          figure.id = "mine";
          document.getElementById("evaluation").append(figure);
          const { drawFigure } = await import(document.querySelector("script[src*='/evaluation']").src.replace(
            /evaluation(\\.[0-9a-f]+)?\\.js/, "figures$1.js"));
          const annotations = [{ text: "Research use only. Not a medical device." }];
          const layout = { height: 300, annotations, xaxis: { title: { text: "Films [n]" } } };
          const bars = { type: "data", symmetric: false, array: [0.5], arrayminus: [0.25] };
          drawFigure("mine", { data: [{ name: "=<b>a</b>", x: [10], y: [0.75], error_y: bars }], layout });
        }"""
    )
    name, content = download_figure(evaluation, "mine", "CSV")
    [row] = list(csv.DictReader(io.StringIO(content.decode())))
    assert name == "hilum-mine.csv"
    assert (row["series"], row["Films [n]"], row["y"]) == ("'= a", "10", "0.75")
    assert (row["low"], row["high"], row["notice"]) == ("0.5", "1.25", NOTICE)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("width", [1440, 768])
def test_the_page_is_accessible(evaluation: Page, width: int) -> None:
    evaluation.set_viewport_size({"width": width, "height": 900})
    assert serious_findings(evaluation) == []
    assert evaluation.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
