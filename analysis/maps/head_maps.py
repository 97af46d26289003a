"""The map of a semi-supervised head: what each patch contributes to its logit, on the grid of the other maps."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.score_kinds import P_VALUE
from analysis.models import ScoreKind
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.heatmap import Heatmap
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Run

MOST_FILMS = 200  # evenly spread, that fix the threshold of the map


def false_alarm_rate(run: Run) -> float:
    """That of the operating point of the run's detector."""
    config = run.detector.config if run.detector else {}
    return PipelineConfig.from_json(dict(config)).false_alarm_rate


def is_called_by_head_alone(folder: ScoredFolder, row: int, *, rate: float) -> bool:
    """Whether at this false-alarm rate the combined score calls the film at ``row`` abnormal and the one-class score
    does not. False for a run without a head. Raises ResultsMissing."""
    if not folder.is_semi_supervised:
        return False
    combined = float(folder.array("semi_supervised")[row, P_VALUE])
    return combined <= rate < float(folder.array("p_values")[row])


def contribution_threshold(folder: ScoredFolder) -> float:
    """What one patch in a hundred of the run's films contributes, the same for every film."""
    every = folder.array("semi_supervised_maps")
    rows = np.unique(np.linspace(0, len(every) - 1, min(len(every), MOST_FILMS)).astype(int))
    values = np.asarray(every[rows], dtype=np.float64)
    highest = float(np.nanquantile(values, 0.99)) if np.isfinite(values).any() else 0.0
    return highest if highest > 0 else 1e-6


def head_heatmap_of(folder: ScoredFolder, row: int, *, threshold: float) -> Heatmap:
    """The contributions of the film at ``row``, with the alignment of its other maps. Raises ResultsMissing."""
    return replace(
        folder.heatmap_of(row),
        fused=folder.contributions_of(row).astype(np.float64),
        is_standardised=False,
        low=0.0,
        high=2 * threshold,
        threshold=threshold,
    )


def shown_heatmaps(
    folder: ScoredFolder, run: Run, scored: ScoredPart, rows: Sequence[int], *, weight: float
) -> Iterator[tuple[Heatmap, bool]]:
    """The heatmap that galleries show of the film at each of the ``rows`` of the part, and whether it is the head's. Of
    the combined score, that of a film that the head alone calls is. Raises ResultsMissing."""
    is_combined = scored.kind == ScoreKind.COMBINED
    rate = false_alarm_rate(run) if is_combined else 0.0
    threshold = contribution_threshold(folder) if is_combined else 0.0
    for row in scored.rows[list(rows)].tolist():
        if is_combined and is_called_by_head_alone(folder, row, rate=rate):
            yield head_heatmap_of(folder, row, threshold=threshold), True
        else:
            yield folder.heatmap_of(row, weight=weight), False
