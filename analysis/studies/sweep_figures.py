"""A sweep as small multiples: AUROC along each setting that has several values, the others held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis import figures
from analysis.figures import AxisLine, CellMark
from analysis.figures.palette import Theme
from analysis.statistics import Auroc
from analysis.studies.sweep import SEED, Setting, SweepResult, SweepRow
from ml_engine.engine.stages.sweep import WEIGHT

ALONG = {"rate": "Rate s", "neighbours": "Neighbours K", "size": "Size, px", WEIGHT: "Fusion weight w of region"}
LOGARITHMIC = ("rate", "neighbours")
BACKBONE = "backbone"


@dataclass(frozen=True)
class SweepFigure:
    """A figure of a part along an axis, and what the other settings are held at."""

    axis: str
    part: str
    held: str
    figure: dict[str, Any]


def draw(found: SweepResult, *, theme: Theme, random_weights: bool) -> list[SweepFigure]:
    """Axis by axis, tune before test."""
    said: dict[str, Any] = {"theme": theme, "random_weights": random_weights}
    held = held_at(found)
    if held is None:
        return []
    drawn = []
    for axis, values in found.axes.items():
        if len(values) < 2 or axis == SEED:
            continue
        for part in found.films:
            figure = _backbones(found, held, part, said) if axis == BACKBONE else _along(found, axis, held, part, said)
            drawn.append(SweepFigure(axis, part, words(held, but=(axis, BACKBONE)), figures.as_json(figure)))
    return drawn


def held_at(found: SweepResult) -> Setting | None:
    """The setting that is best on tune; where tune says nothing, the first that could be fitted."""
    if found.best is not None:
        return found.settings[found.best]
    return found.settings[0] if found.settings else None


def words(setting: Setting, *, but: Sequence[str] = ()) -> str:
    """ "s = 0.1, K = 1"."""
    shown = {"rate": "s = {}", "neighbours": "K = {}", "size": "{} px", WEIGHT: "w = {}", BACKBONE: "{}"}
    return ", ".join(shown[name].format(text) for name, text in setting.values.items() if name not in but)


def _along(found: SweepResult, axis: str, held: Setting, part: str, said: dict[str, Any]) -> Any:
    lines = []
    for backbone in found.axes.get(BACKBONE, [""]):
        wanted = held.values | ({BACKBONE: backbone} if backbone else {})
        lines.append(_line(found, axis, wanted, part, backbone or "AUROC"))
    return figures.axis_figure(
        lines,
        axis=ALONG[axis],
        part=part,
        logarithmic=axis in LOGARITHMIC,
        reach=[row.aurocs[part] for row in found.rows if part in row.aurocs],
        title=f"{ALONG[axis].split(',')[0]}, on {part}",
        **said,
    )


def _line(found: SweepResult, axis: str, wanted: dict[str, str], part: str, name: str) -> AxisLine:
    x: list[float] = []
    aurocs: list[Auroc] = []
    others: list[list[float]] = []
    for value in sorted(found.axes[axis], key=float):
        rows = _rows(found, wanted | {axis: value})
        if rows:
            x.append(float(value))
            aurocs.append(rows[0].aurocs[part])
            areas = [row.aurocs[part].auroc for row in rows[1:]]
            others.append([area for area in areas if area is not None])
    return AxisLine(name, x, aurocs, others)


def _backbones(found: SweepResult, held: Setting, part: str, said: dict[str, Any]) -> Any:
    marks = []
    for backbone in found.axes[BACKBONE]:
        rows = _rows(found, held.values | {BACKBONE: backbone})
        marks += [CellMark(backbone, "fused", row.aurocs[part], is_base=False) for row in rows[:1]]
    return figures.cells_figure(marks, part=part, title=f"Backbone, on {part}", **said)


def _rows(found: SweepResult, wanted: dict[str, str]) -> list[SweepRow]:
    """Those of a setting, one a seed, the first seed's first."""
    setting = tuple(wanted.values())
    return [row for row in found.rows if not row.refused and row.setting == setting]
