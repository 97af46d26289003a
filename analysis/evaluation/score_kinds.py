"""The score that films are ordered and called by: the one-class one, or beside a semi-supervised head the combined one.

The one-class score is the default everywhere. The combined score is the sum of the one-class score and of the head's,
both in standard deviations of held-out calibration normals; it is called semi-supervised on every page.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.evaluate import STEPS, ScoredPart
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.run_results import results_of
from analysis.evaluation.thresholds import ReferenceScores, calibration_reference
from analysis.models import ScoreKind
from ml_engine.engine.scored_folder import SEMI_SUPERVISED
from ml_engine.models import Run
from portal.models import Image, Part

HEAD, COMBINED = SEMI_SUPERVISED.index("semi_supervised_head"), SEMI_SUPERVISED.index("semi_supervised_combined")
P_VALUE = SEMI_SUPERVISED.index("semi_supervised_p_value")
FIELDS = {ScoreKind.ONE_CLASS: "fused_score", ScoreKind.COMBINED: "combined_score"}


def require_head(run: Run, kind: str) -> None:
    """Raises CannotEvaluate for the combined score of a run without a head, and for an unknown kind."""
    if kind not in ScoreKind.values:
        raise CannotEvaluate(f"There is no score {kind[:20]!r}: choose one of {', '.join(ScoreKind.values)}.")
    if kind == ScoreKind.COMBINED and run.head is None:
        raise CannotEvaluate(
            f"The run {run.name!r} has no semi-supervised head, so its films have no combined score: choose the "
            "one-class score, or score the films again with a head."
        )


def calibration_of(run: Run, kind: str) -> ReferenceScores:
    """The calibration normals' scores of this kind, held out, as in `calibration_reference`. Raises CannotEvaluate."""
    if kind == ScoreKind.ONE_CLASS:
        return calibration_reference(run)
    with results_of(run) as folder:
        beside, summary = folder.semi_supervised.summary, folder.summary
    scores = np.asarray(beside.calibration_combined, dtype=np.float64)
    numbers = beside.calibration_patients
    has_part = summary.calibration_source == Part.CALIBRATE
    finite = np.isfinite(scores)
    return ReferenceScores(
        scores[finite],
        Part.CALIBRATE if has_part else Part.FIT,
        None if numbers is None else np.asarray(numbers, dtype=np.int64)[finite],
        is_split_conformal=has_part and numbers is not None,
    )


def beside_of(run: Run, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 5) the scores `SEMI_SUPERVISED` of these rows of the run's arrays. Raises CannotEvaluate when the run's
    folder is gone."""
    with results_of(run) as folder:
        return np.asarray(folder.semi_supervised.columns[rows], dtype=np.float64)


def of_kind(run: Run, scored: ScoredPart, kind: str) -> ScoredPart:
    """The films of the part with their scores of this kind. Raises CannotEvaluate as `require_head`."""
    require_head(run, kind)
    if kind == ScoreKind.ONE_CLASS:
        return scored
    combined = beside_of(run, scored.rows)[:, COMBINED].astype(np.float32)
    return replace(scored, sweep=np.repeat(combined[:, None], STEPS + 1, axis=1), kind=kind)


def nested_tune_scores(run: Run) -> dict[int, tuple[float, int]]:
    """By primary key, the (combined score, patient) of the labelled films of tune, each by a head without reads of its
    patient: a threshold on tune is fixed on these, since the films may have trained the run's head."""
    tune = run.head.tune if run.head else {}
    films = Image.objects.filter(uuid__in=list(tune)).values_list("uuid", "pk", "patient_id")
    return {pk: (float(tune[str(uuid)][2]), patient) for uuid, pk, patient in films}
