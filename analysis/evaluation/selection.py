"""Where settings were chosen on tune, the AUROC to quote for tune is that of the selection procedure."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.models import Evaluation
from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine.reports import DetectorReport
from portal.models import Part


@dataclass(frozen=True)
class SelectionEstimate:
    """The AUROC of the selection procedure with its 95 % interval, from `folds` folds of the tune part's patients; all
    None if it cannot be estimated, for the `reason`. `method` is that of `NestedAuroc`. `sentence` is to be read beside
    every AUROC on tune."""

    auroc: float | None
    low: float | None
    high: float | None
    folds: int | None
    method: str
    reason: str
    sentence: str


OPTIMISTIC = "Settings were chosen on these films, so their AUROC here is optimistic."


def selection_of(evaluation: Evaluation, part: str) -> SelectionEstimate | None:
    """The estimate if the part is tune and settings of the run's detector were chosen on it, otherwise None."""
    detector = evaluation.run.detector
    if part != Part.TUNE or detector is None:
        return None
    try:
        tune = DetectorReport.from_json(detector.summary).tune
    except IncompleteJson as problem:
        return _unknown(str(problem))
    if not tune.auroc:  # nothing was chosen on tune
        return None
    if tune.nested is None:
        return _unknown(tune.nested_note)
    nested = tune.nested
    return SelectionEstimate(
        auroc=nested.auroc,
        low=nested.low,
        high=nested.high,
        folds=nested.folds,
        method=nested.method,
        reason="",
        sentence=f"{OPTIMISTIC} {nested.sentence}",
    )


def _unknown(reason: str) -> SelectionEstimate:
    sentence = f"{OPTIMISTIC} That of the selection procedure cannot be estimated. {reason}".strip()
    return SelectionEstimate(None, None, None, None, method="", reason=reason, sentence=sentence)
