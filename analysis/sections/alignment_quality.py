"""How well the films of an evaluated part are aligned, and the effect on the AUROC."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.run_results import results_of
from analysis.models import Evaluation
from ml_engine.core.alignment.columns import NAMES
from ml_engine.core.json_objects import IncompleteJson
from ml_engine.models import Run

WORST = 12
WORDS = {
    "ncc": "Correlation with the canonical image (NCC)",
    "ssim": "Structural similarity (SSIM)",
    "frame_filled": "Share of the frame that the film fills",
}
NOT_ALIGNED = "This run's films are not aligned: its detector was fitted without an alignment."
NOT_KEPT = "The run was scored before alignments were measured film by film; score again."


def alignment_of(evaluation: Evaluation, scored: ScoredPart, *, hidden: Collection[str] = ()) -> dict[str, Any]:
    """JSON: the share of films flagged, their similarity to the canonical image before and after, the AUROC at the
    run's weight of well aligned and of flagged films, and the worst aligned films, except `hidden` films, which are
    counted over the part. Without any of these `reason` says why. Raises CannotEvaluate when the run's folder is
    gone."""
    run = evaluation.run
    with results_of(run) as folder:
        flagged_rows = folder.summary.flagged
    report: dict[str, Any] = {"part": scored.part, "films": len(scored.images), "reason": ""}
    if run.detector is None or run.detector.alignment is None:
        return report | {"reason": NOT_ALIGNED}
    if flagged_rows is None:
        return report | {"reason": NOT_KEPT}
    try:
        fitted_on = run.detector.alignment.fit_report.measures
    except IncompleteJson as error:
        return report | {"reason": str(error)}
    flagged = np.isin(scored.rows, np.asarray(flagged_rows, dtype=np.int64))
    quality = _quality(run, scored)
    scores = scored.scores_at(float(evaluation.metrics["weight"]))
    groups = ["flagged" if is_flagged else "aligned well" for is_flagged in flagged]
    report |= {
        "alignment": str(run.detector.alignment.run.uuid),
        "weight": float(evaluation.metrics["weight"]),
        "flagged": asdict(statistics.clustered_rate(flagged, scored.patients)),
        "fitted_on": {
            "films": fitted_on.films,
            "share_flagged": fitted_on.share_flagged,
            "ncc_before": fitted_on.ncc_before,
            "ncc_after": fitted_on.ncc_after,
            "ssim_before": fitted_on.ssim_before,
            "ssim_after": fitted_on.ssim_after,
        },
        "measures": None if quality is None else _measures(quality),
        "groups": [asdict(row) for row in statistics.subgroup_aurocs(scored.labels, scores, groups, scored.patients)],
    }
    counted = len(set(hidden).intersection(scored.images))
    return report | {"hidden": counted, "worst": _worst(scored, flagged, quality, hidden)}


def _quality(run: Run, scored: ScoredPart) -> NDArray[np.float64] | None:
    """(N, 5): the measures `NAMES` of the films of the part; None if the engine of the run did not measure them."""
    with results_of(run) as folder:
        if not folder.measures_alignment:
            return None
        return np.asarray(folder.array("alignment_quality")[scored.rows], dtype=np.float64)


def _measures(quality: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Name -> median, 10th percentile and minimum, over the films with a finite value."""
    measures = {}
    for column, name in enumerate(NAMES):
        values = quality[:, column]
        values = values[np.isfinite(values)]
        if len(values):
            low, middle = np.quantile(values, [0.1, 0.5])
            measures[name] = {"median": float(middle), "lowest_tenth": float(low), "least": float(values.min())}
    return measures


def _worst(
    scored: ScoredPart, flagged: NDArray[np.bool_], quality: NDArray[np.float64] | None, hidden: Collection[str]
) -> list[dict[str, Any]]:
    """The flagged films, then those least similar to the canonical image; without measures only the flagged films."""
    ncc = np.full(len(flagged), np.nan) if quality is None else quality[:, NAMES.index("ncc_after")]
    order = np.lexsort((ncc, ~flagged))
    rows = [row for row in order.tolist() if flagged[row] or np.isfinite(ncc[row])]
    visible = [row for row in rows if scored.images[row] not in hidden]
    return [
        {
            "image": scored.images[row],
            "label": "abnormal" if scored.labels[row] else "normal",
            "flagged": bool(flagged[row]),
            "ncc_after": float(ncc[row]) if np.isfinite(ncc[row]) else None,
        }
        for row in visible[:WORST]
    ]
