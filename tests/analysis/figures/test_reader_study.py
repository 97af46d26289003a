"""Readers as points on the ROC of the model."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.figures import NOTICE, ReaderMarks, as_json, reader_study_figure
from analysis.statistics import auroc_interval, reader_points, roc_curve

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
SCORES = np.array([1.0, 2.0, 3.0, 4.0, 3.5, 4.5, 5.0, 6.0])


def drawn(labels: np.ndarray = LABELS, **style: object) -> dict:
    calls = np.array([[0, 0, 1, 1, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1]]).T
    unaided, aided = (reader_points(LABELS, calls[:, [column]])[0] for column in (0, 1))
    marks = [ReaderMarks("Anna", unaided, aided)]
    return as_json(reader_study_figure(roc_curve(labels, SCORES), auroc_interval(labels, SCORES), marks, **style))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_reader_goes_from_the_open_to_the_filled_point(theme: str) -> None:
    figure = drawn(theme=theme)
    model, anna, chance = figure["data"]
    assert (model["name"][:11], anna["name"], chance["name"]) == ("Model alone", "Anna", "Chance 0.500")
    assert (list(anna["x"]), list(anna["y"])) == ([0.5, 0.25], [0.75, 1.0])
    assert list(anna["marker"]["symbol"]) == ["triangle-right-open", "triangle-right"]
    assert any(NOTICE in note["text"] for note in figure["layout"]["annotations"])


def test_random_weights_are_named_and_one_class_is_explained() -> None:
    texts = str(drawn(random_weights=True)["layout"]["annotations"])
    assert "random weights, not for evaluation" in texts
    figure = drawn(np.zeros(8, dtype=int))
    assert len(figure["data"]) == 0
    assert "AUROC" in str(figure["layout"])
