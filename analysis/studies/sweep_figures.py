"""A sweep as small multiples: AUROC along each axis with several values, the other settings held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis import figures
from analysis.figures import AxisLine, ExperimentMark
from analysis.figures.palette import Theme
from analysis.statistics import Auroc
from analysis.studies.sweep import SEED, Setting, SweepResult, SweepRow
from ml_engine.engine.stages.sweep import WEIGHT

ALONG = {"rate": "Rate s", "neighbours": "Neighbours K", "size": "Size, px", WEIGHT: "Fusion weight w of region"}
LOGARITHMIC = ("rate", "neighbours")
BACKBONE = "backbone"


@dataclass(frozen=True)
class SweepFigure:
    """A figure of a part along an axis; ``held``: the values of the other settings."""

    axis: str
    part: str
    held: str
    figure: dict[str, Any]


def draw(results: SweepResult, *, theme: Theme, random_weights: bool) -> list[SweepFigure]:
    """The figures, axis by axis, tune before test."""
    style: dict[str, Any] = {"theme": theme, "random_weights": random_weights}
    held = held_at(results)
    if held is None:
        return []
    drawn = []
    for axis, values in results.axes.items():
        if len(values) < 2 or axis == SEED:
            continue
        for part in results.films:
            figure = (
                _backbones(results, held, part, style) if axis == BACKBONE else _along(results, axis, held, part, style)
            )
            drawn.append(SweepFigure(axis, part, words(held, but=(axis, BACKBONE)), figures.as_json(figure)))
    return drawn


def held_at(results: SweepResult) -> Setting | None:
    """The setting that is best on tune; without a result on tune, the first that could be fitted."""
    if results.best is not None:
        return results.settings[results.best]
    return results.settings[0] if results.settings else None


def words(setting: Setting, *, but: Sequence[str] = ()) -> str:
    """ "s = 0.1, K = 1"."""
    shown = {"rate": "s = {}", "neighbours": "K = {}", "size": "{} px", WEIGHT: "w = {}", BACKBONE: "{}"}
    return ", ".join(shown[name].format(text) for name, text in setting.values.items() if name not in but)


def _along(results: SweepResult, axis: str, held: Setting, part: str, style: dict[str, Any]) -> Any:
    lines = []
    for backbone in results.axes.get(BACKBONE, [""]):
        wanted = held.values | ({BACKBONE: backbone} if backbone else {})
        lines.append(_line(results, axis, wanted, part, backbone or "AUROC"))
    return figures.axis_figure(
        lines,
        axis=ALONG[axis],
        part=part,
        logarithmic=axis in LOGARITHMIC,
        reach=[row.aurocs[part] for row in results.rows if part in row.aurocs],
        title=f"{ALONG[axis].split(',')[0]}, on {part}",
        **style,
    )


def _line(results: SweepResult, axis: str, wanted: dict[str, str], part: str, name: str) -> AxisLine:
    x: list[float] = []
    aurocs: list[Auroc] = []
    others: list[list[float]] = []
    for value in sorted(results.axes[axis], key=float):
        rows = _rows(results, wanted | {axis: value})
        if rows:
            x.append(float(value))
            aurocs.append(rows[0].aurocs[part])
            areas = [row.aurocs[part].auroc for row in rows[1:]]
            others.append([area for area in areas if area is not None])
    return AxisLine(name, x, aurocs, others)


def _backbones(results: SweepResult, held: Setting, part: str, style: dict[str, Any]) -> Any:
    marks = []
    for backbone in results.axes[BACKBONE]:
        rows = _rows(results, held.values | {BACKBONE: backbone})
        marks += [ExperimentMark(backbone, "fused", row.aurocs[part], is_base=False) for row in rows[:1]]
    return figures.experiments_figure(marks, part=part, title=f"Backbone, on {part}", **style)


def _rows(results: SweepResult, wanted: dict[str, str]) -> list[SweepRow]:
    """The rows of a setting, one for each seed, in order."""
    setting = tuple(wanted.values())
    return [row for row in results.rows if not row.refused and row.setting == setting]
