"""The scored folder of a run of the portal."""

from collections.abc import Iterator
from contextlib import contextmanager

from analysis.evaluation.looks import ResultsGone
from ml_engine.engine.scored_folder import ResultsMissing, ScoredFolder
from ml_engine.models import Run
from ml_engine.runs.run_bucket import here


@contextmanager
def results_of(run: Run) -> Iterator[ScoredFolder]:
    """The scored folder of the run. Raises ResultsGone if a file is missing, also inside the `with` block."""
    try:
        yield ScoredFolder(here(run))
    except ResultsMissing as error:
        raise ResultsGone(
            f"The results of the run {run.name!r} are not in the data folder any more; score the films again."
        ) from error
