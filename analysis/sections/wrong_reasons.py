"""Films that are called abnormal for the wrong reason: true positives whose heatmap is highest outside every box."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.operating_points import OperatingResult
from analysis.evaluation.run_results import results_of
from analysis.maps.head_maps import shown_heatmaps
from analysis.models import Evaluation
from analysis.sections.localisation import patches_in_boxes
from analysis.sections.marked_lesions import marked_films
from ml_engine.engine.heatmap import Heatmap


@dataclass(frozen=True)
class WrongReasons:
    """Of `films` true positives with boxes, `wrong` have their highest patch outside every box."""

    films: int
    wrong: int

    @property
    def sentence(self) -> str:
        """Blank where no true positive has a box."""
        if not self.films:
            return ""
        return (
            f"Right for the wrong reason: of {self.films:,} true positives with boxes, {self.wrong:,} "
            f"{'has its' if self.wrong == 1 else 'have their'} highest patch outside every box."
        )


def peak_misses_boxes(heatmap: Heatmap, boxes: Sequence[tuple[float, float, float, float, str]]) -> bool | None:
    """Whether the map is highest outside every box, x, y, width, height in original pixels; as in the pointing game,
    one of several highest patches outside suffices. None without boxes, and where the map has no place on the film."""
    if not boxes or not heatmap.is_placed or not np.isfinite(heatmap.fused).any():
        return None
    in_boxes = patches_in_boxes(
        np.array([box[:4] for box in boxes]),
        heatmap.original_from_canonical,
        stride=float(heatmap.stride),
        shape=heatmap.fused.shape,
    )
    inside: NDArray[np.bool_] = np.any(in_boxes, axis=0)
    return not bool(inside[heatmap.fused == np.nanmax(heatmap.fused)].all())


def wrong_reasons(
    evaluation: Evaluation, scored: ScoredPart, result: OperatingResult, *, hidden: Collection[str] = ()
) -> WrongReasons:
    """Of the part's films at an operating point, without the `hidden` ones. Raises CannotEvaluate when the run's folder
    is gone."""
    if result.threshold is None:
        return WrongReasons(0, 0)
    called = (scored.labels == 1) & (scored.scores_at(result.weight).astype(np.float64) >= result.threshold)
    rows = [row for row in np.flatnonzero(called).tolist() if scored.images[row] not in hidden]
    marked = marked_films([scored.images[row] for row in rows], cutoff=evaluation.label_cutoff)
    rows = [row for row in rows if scored.images[row] in marked]
    with results_of(evaluation.run) as folder:
        heatmaps = shown_heatmaps(folder, evaluation.run, scored, rows, weight=result.weight)
        misses = [
            peak_misses_boxes(heatmap, marked[scored.images[row]].boxes)
            for row, (heatmap, _) in zip(rows, heatmaps, strict=True)
        ]
    return WrongReasons(len(misses) - misses.count(None), misses.count(True))
