"""The scores that fix a threshold, whether they are enough for it, and what it then promises for new films."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.run_results import results_of
from ml_engine.core.score import conformal
from ml_engine.core.score.conformal import PromisedRate
from ml_engine.models import Run
from portal.models import Part

KINDS = {"specificity": "normal", "sensitivity": "abnormal"}


@dataclass(frozen=True)
class ReferenceScores:
    """`scores` (n,) of films of `part` that fix a threshold, with their `patients` (n,), None where each film counts as
    its own patient. `is_split_conformal`: the patients are known, and no score or setting was made with these films, so
    they score as new films do."""

    scores: NDArray[np.float64]
    part: str
    patients: NDArray[np.int64] | None = None
    is_split_conformal: bool = False

    @property
    def films(self) -> int:
        return int(np.isfinite(self.scores).sum())

    @property
    def patients_count(self) -> int:
        return len(conformal.highest_by_patient(self.scores, self.patients))

    def promised(self, rule: str, target: float) -> PromisedRate | None:
        """The false-alarm rate that a specificity promises; None where no rate can be promised."""
        if rule != "specificity" or not self.is_split_conformal:
            return None
        return conformal.promised_rate(1 - target, self.patients_count)


def calibration_reference(run: Run) -> ReferenceScores:
    """The fused scores of the calibration normals at the run's weight, each standardised by the others only. If each
    also took part in its own standardisation, as in a run that scores calibrate, the scores would be lower than those
    of new films. They are of the part fit where folds of it replaced the calibrate part. Raises CannotEvaluate."""
    with results_of(run) as folder:
        summary = folder.summary
        scores = np.asarray(summary.calibration_scores, dtype=np.float64)
        numbers = summary.calibration_patients
        has_part = summary.calibration_source == Part.CALIBRATE
        is_changed = bool(summary.note)
    finite = np.isfinite(scores)
    return ReferenceScores(
        scores[finite],
        Part.CALIBRATE if has_part else Part.FIT,
        None if numbers is None else np.asarray(numbers, dtype=np.int64)[finite],
        is_split_conformal=has_part and not is_changed and numbers is not None,
    )


def why_too_few(reference: ReferenceScores, *, rule: str, target: float) -> str:
    """Why the patients are too few for a specificity or sensitivity (`rule`): of n, a new one passes the highest with a
    probability of 1 / (n + 1), so n support at most n / (n + 1). Blank if they are enough, and for no film at all,
    which the caller reports."""
    patients = reference.patients_count
    if not patients or conformal.rank(target, patients) is not None:
        return ""
    return (
        f"A {rule} of {target:g} needs {KINDS[rule]} films of more patients than the {patients} of {reference.part}; "
        f"choose {np.floor(1000 * patients / (patients + 1)) / 1000:.3f} or less, or take more."
    )


def promise_words(reference: ReferenceScores, *, rule: str, target: float) -> str:
    """What a threshold that these scores fix promises for new films, as a sentence for the user."""
    promised = reference.promised(rule, target)
    if promised is not None:
        return (
            f"Promised for films drawn like these normals: {100 * promised.expected:.1f} % of new normal films are "
            f"called abnormal on average over draws of the {promised.patients} calibration patients, and between "
            f"{100 * promised.low:.1f} and {100 * promised.high:.1f} % in 95 % of such draws. Films of another view, "
            "scanner or population may be called more often."
        )
    if reference.part == Part.TUNE:
        return "No rate is promised for new films: settings may have been chosen on tune."
    if reference.part == Part.FIT:
        return (
            "No rate is promised for new films: folds of the fit part were scored by models of fewer films. Fit with "
            "a calibrate part for a promise."
        )
    if reference.patients is None:
        return (
            "No rate is promised for new films: an earlier release did not record which calibration films are of one "
            "patient. Fit the detector again for a promise."
        )
    return "No rate is promised for new films: the detector was changed without its calibration films."
