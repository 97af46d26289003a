"""Words that warn are read on both papers: WCAG AA, 4.5 to 1."""

from __future__ import annotations

import re

import pytest

from analysis.figures.palette import PAPER
from tests.paths import ROOT

CSS = (ROOT / "static" / "css" / "hilum.css").read_text()
ON_DARK_ONLY = {
    "templates/analysis/adjudicate_film.html",
    "templates/portal/adjudicate_film.html",
    "templates/portal/dataset.html",
    "templates/portal/queue.html",
}  # Bootstrap's yellow is 1.6 to 1 on white


def variables(theme: str) -> dict[str, str]:
    block = r":root \{(.*?)\}" if theme == "light" else r'\[data-bs-theme="dark"\] \{(.*?)\}'
    match = re.search(block, CSS, re.DOTALL)
    assert match
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", match[1]))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_warnings_are_read_on_paper_and_bar(theme: str) -> None:
    known = variables(theme)
    for paper in (PAPER[theme]["paper"], known["--hilum-bar"]):
        assert contrast(known["--hilum-warning"], paper) >= 4.5


@pytest.mark.parametrize("rule", [".hilum-field-error", ".hilum-warning"])
def test_words_that_warn_have_the_warning_s_colour(rule: str) -> None:
    match = re.search(re.escape(rule) + r" \{([^}]*)\}", CSS)
    assert match and "color: var(--hilum-warning)" in match[1]


def test_no_light_page_warns_in_bootstrap_s_yellow() -> None:
    pages = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "templates").rglob("*.html")
        if "text-warning" in path.read_text()
    }
    assert pages <= ON_DARK_ONLY
