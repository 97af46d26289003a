"""What a reader study reveals of a film: its score among the calibration normals, and whether it is flagged."""

from dataclasses import dataclass

import numpy as np

from analysis.evaluation.run_results import results_of
from analysis.evaluation.score_kinds import FIELDS
from analysis.models import ScoreKind, WorklistItem
from ml_engine.models import Score


@dataclass(frozen=True)
class ModelResult:
    """`percentile` is the percent of the `normals` (calibration normals) with a lower score; None without any."""

    score: float | None
    flagged: bool
    percentile: float | None
    normals: int
    is_semi_supervised: bool = False

    @property
    def words(self) -> str:
        if self.score is None:
            return "The model could not read this film."
        verdict = "flagged" if self.flagged else "not flagged"
        name = "Semi-supervised score" if self.is_semi_supervised else "Score"
        if self.percentile is None:
            return f"{name} {self.score:.3g}: {verdict}."
        return (
            f"{name} {self.score:.3g}, higher than {self.percentile:.0f} % of {self.normals} calibration normals: "
            f"{verdict}."
        )


def model_result(item: WorklistItem) -> ModelResult:
    """Raises ResultsMissing if the files of the run are gone."""
    run, kind = item.worklist.run, ScoreKind(item.worklist.score)
    score = Score.objects.filter(run=run, image_id=item.image_id).values_list(FIELDS[kind], flat=True).first()
    with results_of(run) as folder:
        if kind == ScoreKind.COMBINED:
            scores = folder.semi_supervised.summary.calibration_combined
        else:
            scores = folder.summary.calibration_scores
    normals = np.asarray(scores, dtype=np.float64)
    percentile = float(100 * (normals < score).mean()) if score is not None and len(normals) else None
    return ModelResult(
        score=score,
        flagged=item.flagged,
        percentile=percentile,
        normals=len(normals),
        is_semi_supervised=kind == ScoreKind.COMBINED,
    )
