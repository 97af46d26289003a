"""Tables as CSV: numbers are read back unchanged, texts start no formula, and each line has the notice."""

from __future__ import annotations

import csv
import io

import pytest

from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.report.csv_tables import Table, as_csv, escape_formula, sentences


def test_a_float_comes_back_as_it_was_and_nothing_is_blank() -> None:
    text = as_csv(Table(("score", "label"), [(0.1 + 0.2, "normal"), (None, "a,b")]), notice="Research use only.")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert (float(lines[0]["score"]), lines[1]["score"], lines[1]["label"]) == (0.1 + 0.2, "", "a,b")
    assert {line["notice"] for line in lines} == {"Research use only."}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_a_text_starts_no_formula(text: str) -> None:
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("value", ["effusion", "", -1.5, 3, None])
def test_anything_else_stays_as_it_is(value: object) -> None:
    assert escape_formula(value) is value


def test_the_warning_of_random_weights_comes_first() -> None:
    notice = sentences(random_weights=True, remark="Two films are left out")
    assert notice.startswith(RANDOM_WEIGHTS) and NOTICE in notice and notice.endswith("Two films are left out.")
    assert RANDOM_WEIGHTS not in sentences(random_weights=False)
