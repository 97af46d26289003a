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
class ExperimentResult:
    """An experiment's AUROCs by column of scores.csv, their differences from those of the first experiment on the same
    films, and the p-values of these, ``adjusted`` after Holm over the experiments, column by column. The first
    experiment has no differences but the ``sweep`` over the fusion weight. ``has_one_map``: global and region scores
    are the same. ``refused``: why the experiment has no results, otherwise blank."""

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
    """The experiments in the order of the run's summary; ``left_out`` counts test films not used, by reason."""

    summary: dict[str, Any]
    experiments: list[ExperimentResult]
    left_out: dict[str, int]


def join(folder: Path, summary: dict[str, Any], truth: Truth, *, name: Name) -> AblationResult:
    """Raises EngineError where an experiment's files are gone."""
    results: list[ExperimentResult] = []
    first: ExperimentScores | None = None
    for experiment in summary["cells"]:
        if experiment["refused"]:
            results.append(ExperimentResult(experiment["name"], experiment["words"], refused=experiment["refused"]))
            continue
        scored = read_experiment(folder, experiment, part=PART, name=name)
        results.append(_result(experiment, labels_of(scored.films, truth), scored, first))
        first = first or scored
    assert first is not None  # an ablation whose first experiment is refused fails as a whole
    return AblationResult(summary, _adjusted(results), left_out(first.films, truth))


def _result(
    experiment: Mapping[str, Any], labels: FilmLabels, scored: ExperimentScores, first: ExperimentScores | None
) -> ExperimentResult:
    at = labels.known
    truth, patients = labels.abnormal[at], labels.patients[at]
    sweep = None if first else fusion_sweep(truth, scored.sweep[at], patients)

    def area(column: str) -> Auroc:
        # on the scale of the sweep, so that table and figure show the same interval
        return auroc_interval(truth, scored.scores[column][at], patients, logit=sweep.logit if sweep else None)

    def difference(column: str, base: NDArray[np.float64]) -> AurocDifference:
        return delong_paired(truth, scored.scores[column][at], base[at], patients)

    return ExperimentResult(
        name=experiment["name"],
        words=experiment["words"],
        weight=experiment["fusion_weight"],
        weight_source=experiment.get("fusion_source", ""),
        aurocs={column: area(column) for column in COLUMNS},
        differences={column: difference(column, first.scores[column]) for column in COLUMNS} if first else {},
        sweep=sweep,
        has_one_map=np.array_equal(scored.scores["global"][at], scored.scores["region"][at], equal_nan=True),
    )


def _adjusted(results: Sequence[ExperimentResult]) -> list[ExperimentResult]:
    adjusted: list[dict[str, float | None]] = [{} for _ in results]
    for column in COLUMNS:
        compared = [k for k, result in enumerate(results) if _p_value(result, column) is not None]
        adjusted_p_values = holm([_p_value(results[k], column) or 0.0 for k in compared])
        for k, p_value in zip(compared, adjusted_p_values, strict=True):
            adjusted[k][column] = float(p_value)
    return [replace(result, adjusted=of_experiment) for result, of_experiment in zip(results, adjusted, strict=True)]


def _p_value(result: ExperimentResult, column: str) -> float | None:
    """None without a difference; also for global and region where the experiment has only one map."""
    if column not in result.differences or (result.has_one_map and column != "fused"):
        return None
    return result.differences[column].p_value
