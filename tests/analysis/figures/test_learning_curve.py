"""The learning curve of a semi-supervised head as a figure."""

from __future__ import annotations

import pytest

from analysis.figures import NOTICE, RANDOM_WEIGHTS, AreaPoint, as_json, learning_curve_figure

COMBINED = [AreaPoint(10, 0.70, 0.60, 0.80), AreaPoint(20, 0.74, 0.65, 0.83), AreaPoint(40, 0.77, 0.69, 0.85)]
HEAD = [AreaPoint(10, 0.60, 0.50, 0.70), AreaPoint(20, 0.62, 0.52, 0.72), AreaPoint(40, 0.66, 0.57, 0.75)]
ONE_CLASS = AreaPoint(0, 0.68, 0.58, 0.78)


def test_each_score_is_named_with_its_interval_and_the_band_is_that_of_the_combined() -> None:
    drawn = as_json(learning_curve_figure(COMBINED, HEAD, ONE_CLASS, films=(14, 9), random_weights=True))
    names = [trace["name"] for trace in drawn["data"] if trace.get("name")]
    assert names == [
        "95 % interval of combined",
        "Combined 0.770 (0.690–0.850)",
        "Head alone 0.660 (0.570–0.750)",
        "One-class 0.680 (0.580–0.780)",
        "Chance 0.500",
    ]
    band = drawn["data"][0]
    assert band["mode"] == "lines"  # without marks at its corners
    assert list(band["x"]) == [10, 20, 40, 40, 20, 10]
    assert list(band["y"]) == [0.80, 0.83, 0.85, 0.69, 0.65, 0.60]
    assert drawn["layout"]["xaxis"]["type"] == "log"
    assert list(drawn["layout"]["xaxis"]["tickvals"]) == [10, 20, 40]
    words = str(drawn["layout"])
    assert "n = 9 abnormal, 14 normal of tune" in words
    assert "Head and combined score are semi-supervised" in words
    assert NOTICE in words and RANDOM_WEIGHTS in words


@pytest.mark.parametrize("points", [[], COMBINED])
def test_without_a_curve_it_says_why(points: list[AreaPoint]) -> None:
    drawn = as_json(learning_curve_figure(points, points, None, films=(0, 0), reason="Tune has too few films."))
    assert "Tune has too few films." in str(drawn["layout"])
    assert not any(trace.get("mode") == "lines+markers" for trace in drawn["data"])


def test_a_single_point_can_be_drawn() -> None:
    drawn = as_json(learning_curve_figure(COMBINED[:1], HEAD[:1], ONE_CLASS, films=(5, 5), theme="dark"))
    assert next(trace for trace in drawn["data"] if "One-class" in trace.get("name", ""))["x"] == [9.0, 11.0]
