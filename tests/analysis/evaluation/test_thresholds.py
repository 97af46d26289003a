"""When calibration normals are too few for a specificity."""

from __future__ import annotations

import pytest

from analysis.evaluation.thresholds import why_too_few


@pytest.mark.parametrize(("films", "specificity"), [(9, 0.9), (19, 0.95), (99, 0.9), (0, 0.99)])
def test_so_many_normals_are_enough(films: int, specificity: float) -> None:
    """One new normal film in n + 1 passes the highest of n; for no film at all the caller gives the reason."""
    assert why_too_few(films, specificity=specificity, part="calibrate") == ""


def test_too_few_normals_are_reported_with_the_specificity_that_they_support() -> None:
    reason = why_too_few(9, specificity=0.95, part="calibrate")
    assert reason.startswith("A specificity of 0.95 needs more normal films than the 9 of calibrate; choose 0.900")
