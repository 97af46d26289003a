"""The controls of an evaluation change its figures, and the page shows the numbers of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from ml_engine.runs.paths import run_folder
from portal.models import Role
from tests.analysis.scored import Scored, scored_run
from tests.browser.axe import serious_findings
from tests.ml_engine import reports
from tests.ml_engine.scored_folders import change_array, change_summary
from tests.portal import factories

pytestmark = [pytest.mark.django_db(transaction=True)]
BOX = {"x": 4.0, "y": 6.0, "width": 8.0, "height": 12.0, "finding": "nodule"}


@pytest.fixture
def evaluation(data_dir: Path, sign_in: Any) -> Evaluation:
    """An evaluation of aligned films, three of them flagged, with boxes on the abnormal films of tune and test."""
    analyst = factories.user("analyst", Role.ANALYST)
    scored = scored_run(factories.site(), author=analyst, alignment=reports.alignment_report())
    for film in [*scored.films[6:12], *scored.films[18:24]]:
        factories.event(film, "abnormal", boxes=[BOX], findings=["nodule"])
    add_alignment_quality(scored)
    sign_in(analyst)
    return evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())


def add_alignment_quality(scored: Scored) -> None:
    folder = run_folder(scored.run.uuid)
    change_summary(folder, flagged=[1, 14, 20])
    change_array(folder, "alignment_quality", np.random.default_rng(0).uniform(0.2, 0.9, (24, 5)))


class EvaluationPage:
    """The page of a part of an evaluation, and the API for the same part."""

    def __init__(self, page: Page, server: str, evaluation: Evaluation, part: str) -> None:
        self.page, self.part = page, part
        self.api = f"{server}/api/v1/evaluations/{evaluation.uuid}/"
        page.goto(f"{server}/results/{evaluation.uuid}/?part={part}")
        expect(page.locator("#evaluation")).to_have_attribute("data-shown-weight", "0.6")

    def fetch(self, what: str, **query: Any) -> dict[str, Any]:
        answer = self.page.request.get(f"{self.api}{what}/", params={"part": self.part, **query})
        assert answer.ok, answer.text()
        return answer.json()

    def show(self, part: str) -> Any:
        self.page.locator(f"#{part}").scroll_into_view_if_needed()
        expect(
            self.page.locator(f"#{part} .hilum-beside, #{part} .hilum-galleries, #{part} table").first
        ).to_be_visible()
        return self.page.locator(f"#{part}")

    def value(self, selector: str) -> float:
        return float(self.page.locator(selector).first.get_attribute("data-value") or "nan")

    def move(self, weight: str) -> None:
        self.page.locator("#weight").evaluate(
            "(slider, to) => { slider.value = to; for (const name of ['input', 'change'])"
            " slider.dispatchEvent(new Event(name, {bubbles: true})); }",
            weight,
        )

    def curve(self, figure: str, name: str) -> dict[str, Any]:
        return self.page.evaluate(
            "([figure, name]) => { const { x, y } = document.getElementById(figure).data.find("
            "(trace) => trace.name.startsWith(name)); return { x, y }; }",
            [figure, name],
        )


def assert_same(value: float, expected: float) -> None:
    assert value == pytest.approx(expected, abs=1e-9)


def test_the_weight_moves_precision_and_localisation(page: Page, live_server: Any, evaluation: Evaluation) -> None:
    evaluation_page = EvaluationPage(page, live_server.url, evaluation, "tune")
    evaluation_page.show("precision")
    evaluation_page.show("localisation")
    before = {name: evaluation_page.curve(name, "Fused") for name in ("roc", "precision-recall", "froc")}
    evaluation_page.move("0.05")
    for part in ("precision", "localisation"):
        expect(page.locator(f"#{part} [data-weight]")).to_have_attribute("data-weight", "0.05")
    precision = evaluation_page.fetch("precision", weight="0.05")
    localisation = evaluation_page.fetch("localisation", weight="0.05")
    for kind in ("global", "region", "fused"):
        assert_same(evaluation_page.value(f"[data-auroc={kind}]"), precision["auroc"][kind]["auroc"])
        assert_same(
            evaluation_page.value(f"[data-number=auprc-{kind}] [data-value]"), precision["auprc"][kind]["auprc"]
        )
        assert_same(
            evaluation_page.value(f"[data-number=partial-auc-{kind}] [data-value]"),
            precision["partial_auc"][kind]["partial_auc"],
        )
        measures = localisation["kinds"][kind]
        assert_same(evaluation_page.value(f"[data-number=aupro-{kind}] [data-value]"), measures["aupro"]["aupro"])
        assert_same(
            evaluation_page.value(f"[data-number=pixel-auroc-{kind}] [data-value]"), measures["pixel_auroc"]["auroc"]
        )
        assert_same(
            evaluation_page.value(f"[data-number=pointing-{kind}] [data-value]"), measures["pointing_game"]["value"]
        )
    sensitivities = page.locator("#localisation td[data-value]").evaluate_all(
        "cells => cells.map(cell => +cell.dataset.value)"
    )
    assert sensitivities == pytest.approx(localisation["kinds"]["fused"]["froc"]["at_rates"], abs=1e-9)
    after = {name: evaluation_page.curve(name, "Fused") for name in before}
    assert all(before[name] != after[name] for name in before)


def test_the_operating_point_moves_numbers_and_galleries(page: Page, live_server: Any, evaluation: Evaluation) -> None:
    evaluation_page = EvaluationPage(page, live_server.url, evaluation, "test")
    gallery = evaluation_page.show("gallery")
    expect(
        gallery.locator("[data-kind=lowest_abnormal]")
    ).to_be_visible()  # 6 normal films cannot fix a specificity of 0.9
    thresholds = set()
    for rule, target in (("specificity", "0.8"), ("sensitivity", "0.8")):
        page.locator("select[name=rule]").select_option(rule)
        page.locator("select[name=target]").select_option(target)
        point = {"rule": rule, "target": target}
        operating, galleries = evaluation_page.fetch("operating", **point), evaluation_page.fetch("galleries", **point)
        expect(page.locator("#operating [data-threshold]")).to_have_attribute(
            "data-threshold", str(operating["threshold"])
        )
        expect(gallery.locator("[data-threshold]")).to_have_attribute("data-threshold", str(galleries["threshold"]))
        for kind, expected in galleries["galleries"].items():
            films = gallery.locator(f"[data-kind={kind}] a")
            expect(films).to_have_count(len(expected["shown"]))
            shown = films.evaluate_all("links => links.map((link) => [link.dataset.image, +link.dataset.score])")
            assert shown == [[film["image"], pytest.approx(film["score"], abs=1e-9)] for film in expected["shown"]]
        thresholds.add(operating["threshold"])
    assert len(thresholds) == 2


def test_the_prevalence_moves_predictive_values(page: Page, live_server: Any, evaluation: Evaluation) -> None:
    evaluation_page = EvaluationPage(page, live_server.url, evaluation, "test")
    page.locator("select[name=rule]").select_option("sensitivity")
    page.locator("select[name=target]").select_option("0.8")  # six abnormal films of tune allow 6 / 7
    for prevalence in ("0.01", "0.3"):
        field = page.get_by_role("spinbutton", name="Prevalence", exact=True)
        field.fill(prevalence)
        field.press("Tab")
        expect(page.locator("#operating")).to_contain_text(f"at a prevalence of {prevalence}")
        data = evaluation_page.fetch("operating", rule="sensitivity", target="0.8", prevalence=prevalence)["predictive"]
        assert_same(evaluation_page.value("[data-number=ppv]"), data["positive_predictive_value"]["value"])
        assert_same(evaluation_page.value("[data-number=npv]"), data["negative_predictive_value"]["value"])
        assert_same(evaluation_page.value("[data-number=flags]"), data["flags_per_1000"]["value"])
        assert_same(evaluation_page.value("[data-number=misses]"), data["misses_per_1000"]["value"])


def test_breakdown_and_alignment_show_the_numbers_of_the_api(
    page: Page, live_server: Any, evaluation: Evaluation
) -> None:
    evaluation_page = EvaluationPage(page, live_server.url, evaluation, "test")
    evaluation_page.show("breakdown")
    (finding,) = evaluation_page.fetch("breakdown")["findings"]
    assert finding["auroc"]["auroc"] is None  # fewer than 30 films have it
    expect(page.locator("[data-finding=nodule] [data-value]").first).to_have_attribute("data-value", "")
    alignment = evaluation_page.show("alignment")
    quality = evaluation_page.fetch("alignment")
    assert_same(evaluation_page.value("[data-number=flagged] [data-value]"), quality["flagged"]["value"])
    shown = alignment.locator("[data-kind=worst_aligned] a").evaluate_all(
        "all => all.map((link) => link.dataset.image)"
    )
    assert shown == [film["image"] for film in quality["worst"]]
    expect(page.locator("#data [data-number=looks]")).to_have_text("1, 1 of them by this evaluation")


def test_a_film_of_a_gallery_is_marked_at_its_hottest_point_and_opens(
    page: Page, live_server: Any, evaluation: Evaluation
) -> None:
    evaluation_page = EvaluationPage(page, live_server.url, evaluation, "test")
    gallery = evaluation_page.show("gallery")
    first = evaluation_page.fetch("galleries")["galleries"]["lowest_abnormal"]["shown"][0]
    place = gallery.locator("a").first.evaluate(
        """(link) => {
          const film = link.querySelector("img").getBoundingClientRect();
          const ring = link.querySelector("ellipse").getBoundingClientRect();
          const middle = (box, at, size) => box[at] + box[size] / 2;
          return [middle(ring, "left", "width") - film.left, middle(ring, "top", "height") - film.top, film.width];
        }"""
    )
    side = place[2] / 24  # the film is 20 × 24: black to the left and right of it
    assert place[0] == pytest.approx((2 + first["hottest"][0]) * side, abs=0.5)
    assert place[1] == pytest.approx(first["hottest"][1] * side, abs=0.5)
    name = gallery.locator("a .small").first
    assert name.evaluate(
        """(text) => {
          text.textContent = "216840111366964012283393834152009033102258826_00-044-063.png";
          return text.scrollWidth <= text.clientWidth;
        }"""
    )  # of names that differ in their last letters alone, all is shown
    gallery.locator("a").first.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{live_server.url}/results/runs/{evaluation.run.uuid}/films/{first['image']}/")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, live_server: Any, evaluation: Evaluation, theme: str) -> None:
    assert evaluation.created_by
    type(evaluation.created_by).objects.filter(pk=evaluation.created_by.pk).update(theme=theme)
    evaluation_page = EvaluationPage(page, live_server.url, evaluation, "test")
    for part in ("precision", "gallery", "breakdown", "localisation", "alignment"):
        evaluation_page.show(part)
    assert serious_findings(page) == []
