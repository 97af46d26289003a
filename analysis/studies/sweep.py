"""A finished sweep joined with labels, part by part: a row for each experiment and weight, all on the same films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Auroc, Spread, auroc_interval, spread_over_seeds
from analysis.studies.experiments import ExperimentScores, Name, Truth, labels_of, left_out, read_experiment
from ml_engine.engine.stages.sweep import AXES, WEIGHT

SEED = "seed"
TUNE, TEST = "tune", "test"


@dataclass(frozen=True)
class SweepRow:
    """A detector at a fusion weight: the ``values`` of the axes as text, the weight and its source ("tune", "config" or
    "axis"), and the AUROC by part; ``refused``: why it could not be fitted, otherwise blank."""

    experiment: str
    values: dict[str, str]
    weight: float | None = None
    weight_source: str = ""
    aurocs: dict[str, Auroc] = field(default_factory=dict)
    refused: str = ""

    @property
    def setting(self) -> tuple[str, ...]:
        """The values of all axes but the seed."""
        return tuple(text for name, text in self.values.items() if name != SEED)


@dataclass(frozen=True)
class Setting:
    """``rows``: the indices of the rows that differ only by their seed; ``spreads`` by part."""

    values: dict[str, str]
    rows: tuple[int, ...]
    spreads: dict[str, Spread]


@dataclass(frozen=True)
class PartFilms:
    """The films of a part that all detectors scored and that are labelled normal or abnormal; ``unscored`` counts those
    without a score by some detector, ``left_out`` those with another label, by label."""

    normal: int
    abnormal: int
    patients: int
    unscored: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class SweepResult:
    """``best`` is the index of the setting with the highest mean AUROC over its seeds on tune; None where tune has
    none. The best on test is deliberately not reported: nothing is chosen on test."""

    summary: dict[str, Any]
    rows: list[SweepRow]
    settings: list[Setting]
    films: dict[str, PartFilms]
    best: int | None

    @property
    def axes(self) -> dict[str, list[str]]:
        return _axes(self.summary)


def join(folder: Path, summary: dict[str, Any], truth: Truth, *, parts: Sequence[str], name: Name) -> SweepResult:
    """The results on these parts. Raises EngineError where an experiment's files are gone."""
    fitted = [experiment for experiment in summary["cells"] if not experiment["refused"]]
    areas: dict[str, dict[tuple[str, float], Auroc]] = {}
    films = {}
    for part in parts:
        scored = {
            experiment["name"]: read_experiment(folder, experiment, part=part, name=name) for experiment in fitted
        }
        areas[part], films[part] = _areas(summary, fitted, scored, truth)
    rows = []
    for experiment in summary["cells"]:
        for weight, source in _weights(summary, experiment):
            values = _values(summary, experiment, weight)
            aurocs = {part: areas[part][experiment["name"], weight] for part in parts} if weight is not None else {}
            rows.append(
                SweepRow(
                    experiment=experiment["name"],
                    values=values,
                    weight=weight,
                    weight_source=source,
                    aurocs=aurocs,
                    refused=experiment["refused"],
                )
            )
    settings = _settings(rows)
    return SweepResult(summary, rows, settings, films, _best(settings))


def _axes(summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """In the order of `AXES`, since the keys in the file are sorted."""
    return {name: summary["axes"][name] for name in AXES if name in summary["axes"]}


def _weights(summary: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[tuple[float | None, str]]:
    if experiment["refused"]:
        return [(None, "")]
    if WEIGHT in summary["axes"]:
        return [(float(text), "axis") for text in summary["axes"][WEIGHT]]
    return [(experiment["fusion_weight"], experiment["fusion_source"])]


def _values(summary: Mapping[str, Any], experiment: Mapping[str, Any], weight: float | None) -> dict[str, str]:
    texts = {name: text for name, text in experiment["changes"].items() if name in summary["axes"]}
    if WEIGHT in summary["axes"]:
        texts[WEIGHT] = "" if weight is None else f"{weight:g}"
    return {name: texts[name] for name in _axes(summary)}


def _areas(
    summary: Mapping[str, Any],
    fitted: Sequence[Mapping[str, Any]],
    scored: Mapping[str, ExperimentScores],
    truth: Truth,
) -> tuple[dict[tuple[str, float], Auroc], PartFilms]:
    names = next(iter(scored.values())).films
    labels = labels_of(names, truth)
    is_scored: NDArray[np.bool_] = np.all(
        [np.isfinite(experiment.sweep).all(axis=1) for experiment in scored.values()], axis=0
    )
    at = labels.known & is_scored
    abnormal, patients = labels.abnormal[at], labels.patients[at]
    areas = {
        (experiment["name"], weight): auroc_interval(
            abnormal, scored[experiment["name"]].sweep[at, round(100 * weight)], patients
        )
        for experiment in fitted
        for weight, _ in _weights(summary, experiment)
        if weight is not None
    }
    films = PartFilms(
        normal=int((abnormal == 0).sum()),
        abnormal=int(abnormal.sum()),
        patients=len(np.unique(patients)),
        unscored=int((labels.known & ~is_scored).sum()),
        left_out=left_out(names, truth),
    )
    return areas, films


def _settings(rows: Sequence[SweepRow]) -> list[Setting]:
    by_setting: dict[tuple[str, ...], list[int]] = {}
    for k, row in enumerate(rows):
        if not row.refused:
            by_setting.setdefault(row.setting, []).append(k)
    settings = []
    for places in by_setting.values():
        first = rows[places[0]]
        values = {name: text for name, text in first.values.items() if name != SEED}
        spreads = {part: spread_over_seeds([rows[k].aurocs[part].auroc for k in places]) for part in first.aurocs}
        known = {part: spread for part, spread in spreads.items() if spread is not None}
        settings.append(Setting(values, tuple(places), known))
    return settings


def _best(settings: Sequence[Setting]) -> int | None:
    judged = [k for k, setting in enumerate(settings) if TUNE in setting.spreads]
    return max(judged, key=lambda k: (settings[k].spreads[TUNE].mean, -k), default=None)
