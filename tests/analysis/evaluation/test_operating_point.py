"""The operating points that a person may request."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.evaluation.operating_point import OFFERED, RULES, InvalidOperatingPoint, RequestedPoint


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", OFFERED)
def test_offered_points_are_valid(rule: str, target: float) -> None:
    assert RequestedPoint(rule=rule, target=target).prevalence == 0.05


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rule": "youden"}, "The rule 'youden' is unknown; use one of specificity, sensitivity."),
        ({"target": 0.4}, "The target is 0.4; it must lie from 0.5 to 0.999."),
        ({"target": 1.0}, "The target is 1; it must lie from 0.5 to 0.999."),
        ({"target": float("nan")}, "The target is nan;"),
        ({"prevalence": 0.6}, "The prevalence is 0.6; it must lie from 0.0001 to 0.5."),
    ],
)
def test_anything_else_is_refused_in_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOperatingPoint) as refused:
        RequestedPoint(**fields)
    assert str(refused.value).startswith(sentence)
