"""Scored films joined with a truth: who counts, who is left out, and under which word."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.studies.experiments import LabelledFilm, labels_of, left_out, read_summary, require_named, truth_of_csv
from ml_engine.core.errors import EngineError

TRUTH = truth_of_csv(
    [
        {"filename": "a.png", "label": "Normal", "patient_id": "p"},
        {"filename": "b.png", "label": "abnormal", "patient_id": ""},
        {"filename": "c.png", "label": "unsure", "patient_id": "p"},
    ]
)


def test_a_row_without_a_patient_is_its_own() -> None:
    assert TRUTH["a.png"] == LabelledFilm("normal", "p")
    assert TRUTH["b.png"] == LabelledFilm("abnormal", "b.png")


def test_only_normal_and_abnormal_films_are_known() -> None:
    labels = labels_of(["b.png", "a.png", "c.png", "other.png"], TRUTH)
    assert labels.known.tolist() == [True, True, False, False]
    assert labels.abnormal.tolist() == [1, 0, 0, 0]
    assert labels.patients.tolist() == ["b.png", "p", "p", "other.png"]


def test_films_that_no_figure_counts_are_counted_by_their_label() -> None:
    assert left_out(["a.png", "c.png", "other.png", "b.png"], TRUTH) == {"unlabelled": 1, "unsure": 1}


def test_a_scored_film_that_the_csv_lacks_is_named() -> None:
    require_named(["a.png"], TRUTH, source="labels.csv", kind="sweep")
    with pytest.raises(EngineError, match=r"labels\.csv does not name d\.png, .*: give the CSV of the sweep"):
        require_named(["a.png", "d.png"], TRUTH, source="labels.csv", kind="sweep")


@pytest.mark.parametrize(("kind", "words"), [("ablation", "run an ablation"), ("sweep", "run a sweep")])
def test_a_folder_without_a_summary_says_what_to_run(tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        read_summary(tmp_path, kind)
