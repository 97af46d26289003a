"""A finished ablation joined with the labels of its test part: areas, intervals, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Auroc, AurocDifference, FusionSweep, auroc_interval, delong_paired, fusion_sweep, holm
from analysis.studies.experiments import (
    COLUMNS,
    ExperimentScores,
    FilmLabels,
    Name,
    Truth,
    labels_of,
    left_out,
    read_experiment,
)

PART = "test"


@dataclass(frozen=True)
class CellResult:
    """A cell's AUROC by column of scores.csv and each one's difference from the first cell's on the same films, with
    its p-value ``adjusted`` after Holm over the cells, column by column; the first has no differences and holds the
    ``sweep`` of the fusion weight. ``has_one_map`` where global and region are the same; ``refused`` holds the reason
    where there is nothing."""

    name: str
    words: str
    weight: float | None = None
    weight_source: str = ""
    aurocs: dict[str, Auroc] = field(default_factory=dict)
    differences: dict[str, AurocDifference] = field(default_factory=dict)
    adjusted: dict[str, float | None] = field(default_factory=dict)
    sweep: FusionSweep | None = None
    has_one_map: bool = False
    refused: str = ""


@dataclass(frozen=True)
class AblationResult:
    """The cells in the order of the run's summary; ``left_out`` counts test films without a figure, by reason."""

    summary: dict[str, Any]
    cells: list[CellResult]
    left_out: dict[str, int]


def join(folder: Path, summary: dict[str, Any], truth: Truth, *, name: Name) -> AblationResult:
    """Raises EngineError where a cell's files are gone."""
    results: list[CellResult] = []
    first: ExperimentScores | None = None
    for cell in summary["cells"]:
        if cell["refused"]:
            results.append(CellResult(cell["name"], cell["words"], refused=cell["refused"]))
            continue
        scored = read_experiment(folder, cell, part=PART, name=name)
        results.append(_result(cell, labels_of(scored.films, truth), scored, first))
        first = first or scored
    assert first is not None  # without its first cell an ablation has not ended well
    return AblationResult(summary, _adjusted(results), left_out(first.films, truth))


def _result(
    cell: Mapping[str, Any], labels: FilmLabels, scored: ExperimentScores, first: ExperimentScores | None
) -> CellResult:
    at = labels.known
    truth, patients = labels.abnormal[at], labels.patients[at]
    sweep = None if first else fusion_sweep(truth, scored.sweep[at], patients)

    def area(column: str) -> Auroc:
        # on the scale of the sweep, so that table and figure tell one interval for one area
        return auroc_interval(truth, scored.scores[column][at], patients, logit=sweep.logit if sweep else None)

    def difference(column: str, base: NDArray[np.float64]) -> AurocDifference:
        return delong_paired(truth, scored.scores[column][at], base[at], patients)

    return CellResult(
        name=cell["name"],
        words=cell["words"],
        weight=cell["fusion_weight"],
        weight_source=cell.get("fusion_source", ""),
        aurocs={column: area(column) for column in COLUMNS},
        differences={column: difference(column, first.scores[column]) for column in COLUMNS} if first else {},
        sweep=sweep,
        has_one_map=np.array_equal(scored.scores["global"][at], scored.scores["region"][at], equal_nan=True),
    )


def _adjusted(results: Sequence[CellResult]) -> list[CellResult]:
    adjusted: list[dict[str, float | None]] = [{} for _ in results]
    for column in COLUMNS:
        compared = [k for k, result in enumerate(results) if _p_value(result, column) is not None]
        found = holm([_p_value(results[k], column) or 0.0 for k in compared])
        for k, p_value in zip(compared, found, strict=True):
            adjusted[k][column] = float(p_value)
    return [replace(result, adjusted=of_cell) for result, of_cell in zip(results, adjusted, strict=True)]


def _p_value(result: CellResult, column: str) -> float | None:
    """None where there is no difference; and of global and region where the cell has one map, which is neither."""
    if column not in result.differences or (result.has_one_map and column != "fused"):
        return None
    return result.differences[column].p_value
