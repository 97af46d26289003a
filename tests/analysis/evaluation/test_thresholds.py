"""The scores that fix a threshold: when they are too few, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.evaluation.thresholds import ReferenceScores, promise_words, why_too_few


def reference(patients: int, *, part: str = "calibrate", films_each: int = 1) -> ReferenceScores:
    scores = np.linspace(0, 1, patients * films_each)
    return ReferenceScores(scores, part, np.arange(patients).repeat(films_each), is_split_conformal=part == "calibrate")


@pytest.mark.parametrize(("patients", "target"), [(9, 0.9), (19, 0.95), (99, 0.9), (0, 0.99)])
@pytest.mark.parametrize("rule", ["specificity", "sensitivity"])
def test_so_many_patients_are_enough(patients: int, target: float, rule: str) -> None:
    """One new patient in n + 1 passes the highest of n; for no film at all the caller gives the reason."""
    assert why_too_few(reference(patients), rule=rule, target=target) == ""


def test_too_few_patients_are_reported_with_the_specificity_that_they_support() -> None:
    reason = why_too_few(reference(9, films_each=10), rule="specificity", target=0.95)
    assert reason.startswith(
        "A specificity of 0.95 needs normal films of more patients than the 9 of calibrate; choose 0.900"
    )


def test_the_specificity_named_is_enough() -> None:
    for patients in range(1, 60):
        reason = why_too_few(reference(patients), rule="specificity", target=0.999)
        named = float(reason.split("choose ")[1].split()[0])
        assert why_too_few(reference(patients), rule="specificity", target=named) == ""


def test_a_sensitivity_promises_no_false_alarm_rate() -> None:
    assert reference(40).promised("sensitivity", 0.9) is None
    promised = reference(40, films_each=2).promised("specificity", 0.9)
    assert promised is not None
    assert promised.patients == 40


def test_without_patients_nothing_is_promised() -> None:
    by_film = ReferenceScores(np.arange(40.0), "calibrate")
    words = promise_words(by_film, rule="specificity", target=0.9)
    assert "an earlier release did not record which calibration films are of one patient" in words
