"""The spread of an evaluation's AUROC over the starts of its coresets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis import statistics
from analysis.models import Evaluation

WANTED = 5
HOW = (
    "Fit four more detectors with the same settings, coreset_start = seeded and seeds 1 to 4, and score and evaluate "
    "them."
)


@dataclass(frozen=True)
class CoresetStarts:
    """The spread over the evaluations of one split, at one label cut-off, whose detectors differ in the seed alone. It
    draws the first pick of the coreset, the projection of large ones, and folds of patients. `starts` counts them with
    this one; below five, `reason` tells how to get more."""

    starts: int
    spread: statistics.Spread | None
    reason: str = ""


def coreset_starts_of(evaluation: Evaluation, *, part: str) -> CoresetStarts:
    """From evaluations that exist, so that it is no look at test."""
    detector = evaluation.run.detector
    if detector is None or detector.run.config.get("detector", "patchcore") != "patchcore":
        return CoresetStarts(0, None, "This detector has no coreset.")
    if evaluation.run.random_weights:
        return CoresetStarts(0, None, "With random weights another seed is another network, not another start.")
    others = (
        Evaluation.objects.filter(split=evaluation.split, label_cutoff=evaluation.label_cutoff)
        .filter(run__rescores__isnull=True, run__detector__alignment=detector.alignment_id)
        .select_related("run__detector__run")
        .order_by("created_at", "pk")
    )
    areas = {_start(evaluation): _area(evaluation, part)}
    for other in others:
        if _settings(other) == _settings(evaluation) and part in other.metrics["parts"]:
            areas.setdefault(_start(other), _area(other, part))
    known = [area for area in areas.values() if area is not None]
    few = "" if len(known) >= WANTED else f"{len(known)} of {WANTED} starts. {HOW}"
    return CoresetStarts(len(known), statistics.spread_over_seeds(known) if len(known) > 1 else None, few)


def _config(evaluation: Evaluation) -> dict[str, Any]:
    return evaluation.run.detector.run.config if evaluation.run.detector else {}


def _settings(evaluation: Evaluation) -> dict[str, Any]:
    return {name: value for name, value in _config(evaluation).items() if name not in ("seed", "coreset_start")}


def _start(evaluation: Evaluation) -> int | None:
    """None for a coreset that starts at the first patch, whatever its seed."""
    config = _config(evaluation)
    return int(config.get("seed", 0)) if config.get("coreset_start", "first") == "seeded" else None


def _area(evaluation: Evaluation, part: str) -> float | None:
    area: float | None = evaluation.metrics["parts"][part]["auroc"]["fused"]["auroc"]
    return area
