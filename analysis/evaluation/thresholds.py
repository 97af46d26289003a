"""The calibration scores that fix a threshold, and whether they are enough for a specificity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.run_results import results_of
from ml_engine.models import Run


def calibration_scores(run: Run) -> NDArray[np.float64]:
    """(n,) fused scores of the calibration normals at the run's weight, each standardised by the others only. If each
    also took part in its own standardisation, as in a run that scores calibrate, the scores would be lower than those
    of new films. Raises CannotEvaluate."""
    with results_of(run) as folder:
        scores = np.asarray(folder.summary.calibration_scores, dtype=np.float64)
    return scores[np.isfinite(scores)]


def why_too_few(films: int, *, specificity: float, part: str) -> str:
    """Why `films` normal films are too few for a specificity: a new normal film passes the highest of n with
    probability 1 / (n + 1), so n films support at most n / (n + 1). Blank if they are enough, and for no film at all,
    which the caller reports."""
    most = films / (films + 1)
    if not films or specificity <= most:
        return ""
    return (
        f"A specificity of {specificity:g} needs more normal films than the {films} of {part}; choose {most:.3f} or "
        "less, or calibrate on more."
    )
