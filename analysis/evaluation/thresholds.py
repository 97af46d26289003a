"""What fixes a threshold: the calibration normals that a run brings along, and whether they are enough for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.run_results import results_of
from ml_engine.models import Run


def calibration_scores(run: Run) -> NDArray[np.float64]:
    """(n,) of the calibration normals at the run's weight, each standardised by the others: standardised by themselves
    too, as a run that scores calibrate does, they would look tamer than new films. Raises CannotEvaluate."""
    with results_of(run) as folder:
        scores = np.asarray(folder.summary.calibration_scores, dtype=np.float64)
    return scores[np.isfinite(scores)]


def why_too_few(films: int, *, specificity: float, part: str) -> str:
    """A sentence where so few normals vouch for less than was asked, since the highest of them would be the threshold;
    else blank. Without any film there is another reason, and it is the caller's to tell."""
    most = films / (films + 1)
    if not films or specificity <= most:
        return ""
    return (
        f"A specificity of {specificity:g} needs more normal films than the {films} of {part}; ask for {most:.3f} or "
        "less, or calibrate on more."
    )
