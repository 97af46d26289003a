"""What a reader study reveals of a film: its score among the calibration normals, and whether it is flagged."""

from dataclasses import dataclass

import numpy as np

from analysis.evaluation.run_results import results_of
from analysis.models import WorklistItem
from ml_engine.models import Score


@dataclass(frozen=True)
class ModelResult:
    """`percentile` is the percent of the `normals` (calibration normals) with a lower score; None without any."""

    score: float | None
    flagged: bool
    percentile: float | None
    normals: int

    @property
    def words(self) -> str:
        if self.score is None:
            return "The model could not read this film."
        verdict = "flagged" if self.flagged else "not flagged"
        if self.percentile is None:
            return f"Score {self.score:.3g}: {verdict}."
        return (
            f"Score {self.score:.3g}, higher than {self.percentile:.0f} % of {self.normals} calibration normals: "
            f"{verdict}."
        )


def model_result(item: WorklistItem) -> ModelResult:
    """Raises ResultsMissing if the files of the run are gone."""
    run = item.worklist.run
    score = Score.objects.filter(run=run, image_id=item.image_id).values_list("fused_score", flat=True).first()
    with results_of(run) as folder:
        normals = np.asarray(folder.summary.calibration_scores, dtype=np.float64)
    percentile = float(100 * (normals < score).mean()) if score is not None and len(normals) else None
    return ModelResult(score=score, flagged=item.flagged, percentile=percentile, normals=len(normals))
