"""Where settings were chosen on tune, the AUROC to quote for tune is that of the selection procedure."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.models import Evaluation
from ml_engine.engine.reports import DetectorReport
from portal.models import Part


@dataclass(frozen=True)
class SelectionEstimate:
    """The AUROC of the selection procedure with its 95 % interval, from `folds` folds of the tune part's patients; all
    None if it cannot be estimated, for the `reason`."""

    auroc: float | None
    low: float | None
    high: float | None
    folds: int | None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What is to be read beside every AUROC on tune."""
        start = "Settings were chosen on these films, so their AUROC here is optimistic."
        if self.auroc is None:
            return f"{start} That of the selection procedure cannot be estimated. {self.reason}".strip()
        return (
            f"{start} AUROC of the selection procedure: {self.auroc:.3f} ({self.low:.3f}–{self.high:.3f}), averaged "
            f"within {self.folds} folds of patients, each scored by what the other folds select."
        )


def selection_of(evaluation: Evaluation, part: str) -> SelectionEstimate | None:
    """The estimate if the part is tune and settings of the run's detector were chosen on it, otherwise None."""
    detector = evaluation.run.detector
    if part != Part.TUNE or detector is None:
        return None
    tune = DetectorReport.from_json(detector.summary).tune
    if not tune.auroc:  # nothing was chosen on tune
        return None
    if tune.nested is None:
        return SelectionEstimate(None, None, None, None, tune.nested_note)
    nested = tune.nested
    return SelectionEstimate(nested.auroc, nested.low, nested.high, nested.folds)
