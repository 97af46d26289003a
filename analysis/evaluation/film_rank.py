"""Where a film's score lies among the calibration normals: the share of their patients that it exceeds, with an
interval, and the film's conformal p-value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import statistics
from analysis.evaluation.thresholds import ReferenceScores
from ml_engine.core.score import conformal
from portal.models import Part

OF_THE_MODEL = (Part.FIT, Part.CALIBRATE)  # their films score otherwise than new ones


@dataclass(frozen=True)
class FilmRank:
    """`above`: calibration patients whose normal films all score lower than the film; `films` are those of all of them.
    `p_value` is None where none can be given, with the reason in `why_none`."""

    above: statistics.Proportion
    films: int
    p_value: float | None
    why_none: str


def p_values(reference: ReferenceScores, scores: ArrayLike) -> NDArray[np.float64]:
    """Conformal p-values (N,) of the scores (N,) of films: (1 + the calibration patients whose highest normal film
    scores at least as high) / (n + 1). NaN where the score is NaN, or the calibration films are not exchangeable with
    new normal films."""
    values = np.asarray(scores, dtype=np.float64)
    if not reference.is_split_conformal:
        return np.full(values.shape, np.nan)
    ordered = conformal.highest_by_patient(reference.scores, reference.patients)
    as_high = len(ordered) - np.searchsorted(ordered, values, side="left")
    return np.where(np.isnan(values), np.nan, (1 + as_high) / (len(ordered) + 1))


def rank_of(reference: ReferenceScores, score: float, *, part: str) -> FilmRank | None:
    """Of a film of a part of the detector's split, "" for none; None without calibration normals."""
    ordered = conformal.highest_by_patient(reference.scores, reference.patients)
    if not len(ordered):
        return None
    why_none = ""
    if part in OF_THE_MODEL:
        why_none = f"The film is in {part}: the model was made with it."
    elif not reference.is_split_conformal:
        why_none = "The calibration normals do not score as new films do."
    return FilmRank(
        above=statistics.wilson(int((ordered < score).sum()), len(ordered)),
        films=reference.films,
        p_value=None if why_none else float(p_values(reference, score)),
        why_none=why_none,
    )
