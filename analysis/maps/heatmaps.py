"""The heatmap of a film that a run scored."""

from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.run_results import results_of
from ml_engine.engine.heatmap import Heatmap
from ml_engine.models import Score


def heatmap_of(score: Score) -> Heatmap:
    """The heatmap at the run's weight. Raises CannotEvaluate if the film could not be scored or the files are gone."""
    if score.error:
        raise CannotEvaluate(f"This film has no heatmap: {score.error}")
    with results_of(score.run) as folder:
        return folder.heatmap_of(score.row)
