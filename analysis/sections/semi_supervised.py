"""A semi-supervised head beside the one-class score on an evaluated part: AUROCs, their difference, the figure.

The head was fitted on films that people confirmed as abnormal. Films of their patients are left out of the part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import TRAINED, ScoredPart
from analysis.evaluation.score_kinds import COMBINED, HEAD, beside_of, require_head
from analysis.figures import RunCurve, comparison_figure
from analysis.figures.palette import Theme
from analysis.models import Evaluation, ScoreKind

ABOUT = (
    "The combined score is the sum of the one-class score and of the head's, each in standard deviations of held-out "
    "calibration normals. The one-class score stays the default."
)
NAMES = {
    "one-class": "One-class",
    "head": "Semi-supervised head",
    "combined": "Semi-supervised combined",
}
SHORT = {"one-class": "One-class", "head": "Head alone", "combined": "Combined"}  # in the legend of a narrow figure
NOTE = "Head and combined score are semi-supervised"  # beside `SHORT`


@dataclass(frozen=True)
class SemiSupervisedResult:
    """On the films of `part`: AUROCs by a key of `NAMES`, the gain of the combined over the one-class score, paired
    and by patient, and how many films were left out because films of their patients trained the head."""

    part: str
    weight: float
    aurocs: dict[str, statistics.Auroc]
    gain: statistics.AurocDifference
    trained: int

    @property
    def rows(self) -> list[tuple[str, statistics.Auroc]]:
        return [(NAMES[name], auroc) for name, auroc in self.aurocs.items()]


def compare_head(evaluation: Evaluation, scored: ScoredPart) -> SemiSupervisedResult:
    """Raises CannotEvaluate for a run without a head, or when the run's folder is gone."""
    scores = scores_of(evaluation, scored)
    aurocs = {
        name: statistics.auroc_interval(scored.labels, values, scored.patients) for name, values in scores.items()
    }
    return SemiSupervisedResult(
        part=scored.part,
        weight=float(evaluation.metrics["weight"]),
        aurocs=aurocs,
        gain=statistics.delong_paired(scored.labels, scores["combined"], scores["one-class"], scored.patients),
        trained=scored.left_out.get(TRAINED, 0),
    )


def scores_of(evaluation: Evaluation, scored: ScoredPart) -> dict[str, NDArray[np.float64]]:
    """(N,) scores of the films of the part, by a key of `NAMES`; the one-class score is that at the run's weight."""
    require_head(evaluation.run, ScoreKind.COMBINED)
    beside = beside_of(evaluation.run, scored.rows)
    one_class = scored.scores_at(float(evaluation.metrics["weight"])).astype(np.float64)
    return {"one-class": one_class, "head": beside[:, HEAD], "combined": beside[:, COMBINED]}


def draw_head(
    evaluation: Evaluation, scored: ScoredPart, result: SemiSupervisedResult, *, theme: Theme, random_weights: bool
) -> Any:
    """The three ROC curves, as a Plotly figure. It names no film."""
    curves = [
        RunCurve(SHORT[name], statistics.roc_curve(scored.labels, values), result.aurocs[name])
        for name, values in scores_of(evaluation, scored).items()
    ]
    return comparison_figure(curves, theme=theme, random_weights=random_weights, note=NOTE)
