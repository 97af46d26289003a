"""The page that ``python -m analysis evaluate --html`` writes, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from analysis.studies.evaluate_folder import evaluate_folder
from analysis.studies.evaluation_page import html_of
from tests.analysis.studies.test_evaluate_folder import write_labels, write_scores
from tests.browser.axe import serious_findings


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_is_accessible_and_fits(page: Page, tmp_path: Path, scheme: Literal["light", "dark"], width: int) -> None:
    write_scores(tmp_path / "scores")
    evaluation = evaluate_folder(tmp_path / "scores", write_labels(tmp_path / "labels.csv"))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.set_content(html_of(evaluation))
    expect(page.get_by_role("img", name="ROC")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []
