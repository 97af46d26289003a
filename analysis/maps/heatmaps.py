"""The heatmap of a film that a run scored."""

from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.run_results import results_of
from ml_engine.engine.heatmap import Heatmap
from ml_engine.models import Score


def heatmap_of(score: Score) -> Heatmap:
    """At the run's own weight. Raises CannotEvaluate where the film has none, or its files are gone."""
    if score.error:
        raise CannotEvaluate(f"This film has no heatmap: {score.error}")
    with results_of(score.run) as folder:
        return folder.heatmap_of(score.row)
