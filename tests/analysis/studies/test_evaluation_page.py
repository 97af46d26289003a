"""The page of an evaluation: complete in one file, without names of films, readable in both themes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis.studies.evaluate_folder import evaluate_folder
from analysis.studies.evaluation_page import html_of
from tests.analysis.studies.test_evaluate_folder import write_labels, write_scores


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    write_scores(tmp_path / "scores", note="<b>a note</b>")
    evaluation = evaluate_folder(tmp_path / "scores", write_labels(tmp_path / "labels.csv"))
    path = tmp_path / "page.html"
    path.write_text(html_of(evaluation), encoding="utf-8")
    return path


def test_it_needs_nothing_else_and_names_no_film(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=", text)
    assert not re.search(r"f\d\d\.png|p\d+</", text)
    assert "&lt;b&gt;a note&lt;/b&gt;" in text
    assert text.count("<figure>") == 2


def test_the_curves_end_where_they_must(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    (roc,) = re.findall(r'<path class="line fused" d="(M52.00 [^"]*)"', text.partition("Precision and recall")[0])
    points = [tuple(map(float, point.split())) for point in roc[1:].split("L")]
    assert points[0] == (52.0, 330.0)  # (0, 0)
    assert points[-1] == (372.0, 10.0)  # (1, 1)
