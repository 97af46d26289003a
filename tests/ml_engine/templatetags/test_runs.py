"""Words and numbers on the pages of runs."""

from __future__ import annotations

import pytest

from ml_engine.core.film import controls as changes
from ml_engine.engine.stages import controls
from ml_engine.templatetags import runs


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.4, "0 s"), (99.4, "99 s"), (99.6, "2 min"), (3_600, "60 min"), (5_940, "99 min"),
     (11_100, "3 h 5 min")],
)  # fmt: skip
def test_a_duration_has_two_figures_or_so(seconds: float | None, words: str) -> None:
    assert runs.duration(seconds) == words


@pytest.mark.parametrize(
    ("stage", "words"),
    [("maps", "scoring films"), ("cell-no-mask", "fitting and scoring detector no-mask"),
     ("bank-share-50-1", "selecting and scoring bank share-50-1"), ("alignment-3", "fitting alignment 3"),
     ("unheard of", "unheard of")],
)  # fmt: skip
def test_a_stage_has_words(stage: str, words: str) -> None:
    assert runs.stage_words(stage) == words


def test_a_number_that_is_not_there_is_a_dash() -> None:
    assert [runs.number(value) for value in (None, "", 0, 0.12345)] == ["–", "–", "0.000", "0.123"]
    assert [runs.percent(value) for value in (None, "", 0, 0.125)] == ["–", "–", "0 %", "12 %"]


def test_a_change_has_its_sign() -> None:
    assert [runs.signed(value) for value in (None, 0.04, 1.26, -2)] == ["–", "+0.0", "+1.3", "−2.0"]


def test_every_kind_of_control_has_words() -> None:
    assert set(runs.CONTROLS) == {controls.UNCHANGED, *changes.KINDS}
    assert runs.control_words("rotated") == "Rotated"
