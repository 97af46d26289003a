"""A finished sweep joined with labels, a part at a time: one row a cell and weight, all on the same films."""

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
    """A detector at a fusion weight: the axes' ``values`` as text, the weight and where it is from (tune, config, or
    the sweep's axis), its AUROC by part; ``refused`` holds the reason where it could not be fitted."""

    cell: str
    values: dict[str, str]
    weight: float | None = None
    weight_source: str = ""
    aurocs: dict[str, Auroc] = field(default_factory=dict)
    refused: str = ""

    @property
    def setting(self) -> tuple[str, ...]:
        """What it shares with the rows that differ by their seed alone."""
        return tuple(text for name, text in self.values.items() if name != SEED)


@dataclass(frozen=True)
class Setting:
    """All rows that differ by their seed alone; ``spreads`` by part."""

    values: dict[str, str]
    rows: tuple[int, ...]
    spreads: dict[str, Spread]


@dataclass(frozen=True)
class PartFilms:
    """The films of a part that all detectors scored and whose label is normal or abnormal; ``unscored`` were missed
    by some detector, ``left_out`` have another label, by reason."""

    normal: int
    abnormal: int
    patients: int
    unscored: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class SweepResult:
    """``best`` is the setting with the highest AUROC on tune, by the mean over its seeds; None where tune has none.
    What is best on test is nobody's to choose, and is not told."""

    summary: dict[str, Any]
    rows: list[SweepRow]
    settings: list[Setting]
    films: dict[str, PartFilms]
    best: int | None

    @property
    def axes(self) -> dict[str, list[str]]:
        return _axes(self.summary)


def join(folder: Path, summary: dict[str, Any], truth: Truth, *, parts: Sequence[str], name: Name) -> SweepResult:
    """The figures of these parts. Raises EngineError where a cell's files are gone."""
    fitted = [cell for cell in summary["cells"] if not cell["refused"]]
    found: dict[str, dict[tuple[str, float], Auroc]] = {}
    films = {}
    for part in parts:
        scored = {cell["name"]: read_experiment(folder, cell, part=part, name=name) for cell in fitted}
        found[part], films[part] = _areas(summary, fitted, scored, truth)
    rows = []
    for cell in summary["cells"]:
        for weight, source in _weights(summary, cell):
            values = _values(summary, cell, weight)
            aurocs = {part: found[part][cell["name"], weight] for part in parts} if weight is not None else {}
            rows.append(
                SweepRow(
                    cell=cell["name"],
                    values=values,
                    weight=weight,
                    weight_source=source,
                    aurocs=aurocs,
                    refused=cell["refused"],
                )
            )
    settings = _settings(rows)
    return SweepResult(summary, rows, settings, films, _best(settings))


def _axes(summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """In the order of the method: a JSON file keeps none."""
    return {name: summary["axes"][name] for name in AXES if name in summary["axes"]}


def _weights(summary: Mapping[str, Any], cell: Mapping[str, Any]) -> list[tuple[float | None, str]]:
    if cell["refused"]:
        return [(None, "")]
    if WEIGHT in summary["axes"]:
        return [(float(text), "axis") for text in summary["axes"][WEIGHT]]
    return [(cell["fusion_weight"], cell["fusion_source"])]


def _values(summary: Mapping[str, Any], cell: Mapping[str, Any], weight: float | None) -> dict[str, str]:
    given = {name: text for name, text in cell["changes"].items() if name in summary["axes"]}
    if WEIGHT in summary["axes"]:
        given[WEIGHT] = "" if weight is None else f"{weight:g}"
    return {name: given[name] for name in _axes(summary)}


def _areas(
    summary: Mapping[str, Any],
    fitted: Sequence[Mapping[str, Any]],
    scored: Mapping[str, ExperimentScores],
    truth: Truth,
) -> tuple[dict[tuple[str, float], Auroc], PartFilms]:
    names = next(iter(scored.values())).films
    labels = labels_of(names, truth)
    seen: NDArray[np.bool_] = np.all([np.isfinite(one.sweep).all(axis=1) for one in scored.values()], axis=0)
    at = labels.known & seen
    abnormal, patients = labels.abnormal[at], labels.patients[at]
    areas = {
        (cell["name"], weight): auroc_interval(abnormal, scored[cell["name"]].sweep[at, round(100 * weight)], patients)
        for cell in fitted
        for weight, _ in _weights(summary, cell)
        if weight is not None
    }
    films = PartFilms(
        normal=int((abnormal == 0).sum()),
        abnormal=int(abnormal.sum()),
        patients=len(np.unique(patients)),
        unscored=int((labels.known & ~seen).sum()),
        left_out=left_out(names, truth),
    )
    return areas, films


def _settings(rows: Sequence[SweepRow]) -> list[Setting]:
    by_setting: dict[tuple[str, ...], list[int]] = {}
    for k, row in enumerate(rows):
        if not row.refused:
            by_setting.setdefault(row.setting, []).append(k)
    found = []
    for places in by_setting.values():
        first = rows[places[0]]
        values = {name: text for name, text in first.values.items() if name != SEED}
        spreads = {part: spread_over_seeds([rows[k].aurocs[part].auroc for k in places]) for part in first.aurocs}
        known = {part: spread for part, spread in spreads.items() if spread is not None}
        found.append(Setting(values, tuple(places), known))
    return found


def _best(settings: Sequence[Setting]) -> int | None:
    judged = [k for k, setting in enumerate(settings) if TUNE in setting.spreads]
    return max(judged, key=lambda k: (settings[k].spreads[TUNE].mean, -k), default=None)
