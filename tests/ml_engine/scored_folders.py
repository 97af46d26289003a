"""Scored folders with known numbers, written by `ScoredFolder` itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ml_engine.core.detector.pipeline import Scores
from ml_engine.core.score.film_scores import FAMILY
from ml_engine.core.version import FORMAT
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.scored_folder import ArrayName, ScoredFolder, ScoreSummary

WEIGHTS = np.arange(101) / 100
GRID = 4


def summary(**changes: Any) -> ScoreSummary:
    """The summary for films of 32 pixels with 4 x 4 patches, not standardised, with a threshold of 2.5."""
    default = ScoreSummary(
        format=FORMAT,
        code_version="test",
        weights={"name": "random", "sha256": None},
        detector_sha256=None,
        alignment_sha256=None,
        note="",
        fusion_weight=0.6,
        fusion_source="config",
        standardisation=None,
        size=8 * GRID,
        stride=8,
        rows=GRID,
        columns=GRID,
        image_score="top",
        top_share=0.01,
        distance="squared",
        neighbours=1,
        calibration_source="calibrate",
        calibration_scores=[],
        threshold={"kind": "film", "value": 2.5, "note": ""},
        threshold_map=2.5,
        flagged=[],
        unreadable={},
    )
    return replace(default, **changes)


def sweep_between(whole: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The scores (N, 101) of films whose fused score is the weighted mean of the two."""
    return np.stack([w * region + (1 - w) * whole for w in WEIGHTS], axis=1).astype(np.float32)


def write(
    path: Path,
    films: Sequence[ManifestRow],
    sweep: np.ndarray,
    *,
    maps: np.ndarray,
    weight: float = 0.6,
    original_from_canonical: Any = ((0.5, 0, 0), (0, 0.75, 0)),
    **changes: Any,
) -> ScoredFolder:
    """Write a folder of films with these scores and maps and one affine; ``changes`` apply to the summary."""
    path.mkdir(parents=True, exist_ok=True)
    folder = ScoredFolder(path)
    folder.write_array("maps", maps)
    folder.write_array("original_from_canonical", np.tile(np.array(original_from_canonical, float), (len(films), 1, 1)))
    whole, region, fused = (sweep[:, at].astype(np.float64) for at in (0, 100, round(weight * 100)))
    parts = np.stack([sweep - 1, sweep + 1], axis=1) / 2
    family = np.repeat(sweep[:, None], len(FAMILY), axis=1)
    folder.write_scores(films, {}, Scores(whole, region, fused, sweep, parts, family), weight=weight)
    folder.write_summary(summary(fusion_weight=weight, **changes))
    folder.check()
    return folder


def change_summary(path: Path, **changes: Any) -> None:
    """Write score.json again with these changes."""
    ScoredFolder(path).write_summary(replace(ScoredFolder(path).summary, **changes))


def change_array(path: Path, name: ArrayName, array: np.ndarray) -> None:
    ScoredFolder(path).write_array(name, array)
