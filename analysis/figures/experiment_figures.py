"""Detectors side by side: the experiments of an ablation, and AUROC along an axis of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from analysis.figures.palette import MARKS, PAPER, RUNS, SCORES, Kind, Theme
from analysis.figures.paper import empty, finish, format_auroc, new_figure, percent, text_side, who
from analysis.statistics import Auroc

ROW_PX = 46
LEAST_PX = 120
NAMES_PX = 190  # for the names of detectors


@dataclass(frozen=True)
class ExperimentMark:
    """A detector's AUROC by one kind of score. ``note`` is printed after it, such as a p-value; ``is_base``: the others
    are compared with this one."""

    name: str
    kind: Kind
    auroc: Auroc
    note: str = ""
    is_base: bool = False


@dataclass(frozen=True)
class AxisLine:
    """A line of a figure along an axis: at each of ``x`` the AUROC with the first seed and its interval, and the AUROCs
    with the other seeds."""

    name: str
    x: list[float]
    aurocs: list[Auroc]
    other_seeds: list[list[float]]


def experiments_figure(
    marks: Sequence[ExperimentMark],
    *,
    part: str = "test",
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """A row for each mark, from the top: AUROC with its interval; the mark of the base is filled."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    known = [mark for mark in marks if mark.auroc.auroc is not None]
    if not known:
        return empty(figure, marks[0].auroc.reason if marks else "No detector to show.", theme=theme)
    height = max(LEAST_PX, ROW_PX * len(marks))
    figure.update_yaxes(
        range=[len(marks) - 0.5, -0.7],
        tickvals=list(range(len(marks))),
        ticktext=[mark.name for mark in marks],
        showgrid=False,
        ticks="",
    )
    figure.update_layout(margin_l=NAMES_PX)
    reach = _reach([mark.auroc for mark in known], chance=True)
    figure.update_xaxes(title=f"AUROC on {part}", range=reach)
    kinds: dict[Kind, list[tuple[int, ExperimentMark]]] = {}
    for place, mark in enumerate(marks):
        if mark.auroc.auroc is not None:
            kinds.setdefault(mark.kind, []).append((place, mark))
    for kind, places in kinds.items():
        figure.add_trace(_marks(kind, places, reach, theme=theme))
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    ends = [-0.7, len(marks) - 0.5]
    figure.add_trace(go.Scatter(x=[0.5, 0.5], y=ends, mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    finish(figure, who(known[0].auroc), theme=theme, plot_px=height)
    figure.update_annotations(xshift=16 - NAMES_PX)  # title and notice begin at the left edge, above the names
    return figure.update_layout(legend_xref="container", legend_x=0.03)


def _marks(
    kind: Kind, places: Sequence[tuple[int, ExperimentMark]], reach: Sequence[float], *, theme: Theme
) -> go.Scatter:
    ink, colour = PAPER[theme]["ink"], SCORES[theme][kind]
    aurocs = [mark.auroc for _, mark in places]
    return go.Scatter(
        x=[_plain(area.auroc) for area in aurocs],
        y=[place for place, _ in places],
        text=[f"{format_auroc(mark.auroc)}{mark.note and ', ' + mark.note}" for _, mark in places],
        textposition=[text_side(area.auroc or 0.0, reach) for area in aurocs],
        textfont={"size": 11},
        mode="markers+text",
        marker={
            "color": [colour if mark.is_base else PAPER[theme]["paper"] for _, mark in places],
            "size": 10,
            "symbol": MARKS["estimate"],
            "line": {"width": 2, "color": colour},
        },
        error_x=_bars(aurocs, colour=ink),
        cliponaxis=False,
        name={"global": "Global", "region": "Region", "fused": "Combined"}[kind],
        hovertemplate="%{text}<extra></extra>",
    )


def axis_figure(
    lines: Sequence[AxisLine],
    *,
    axis: str,
    part: str,
    logarithmic: bool = False,
    reach: Sequence[Auroc] = (),
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """AUROC along a setting: bars are the intervals with the first seed, small open marks the other seeds. The scale
    also covers the intervals of ``reach``, so that figures side by side can share it."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    areas = [area for line in lines for area in line.aurocs]
    known = [area for area in areas if area.auroc is not None]
    if not known:
        return empty(figure, areas[0].reason if areas else "No detector to show.", theme=theme)
    ticks = sorted({value for line in lines for value in line.x})
    figure.update_xaxes(title=axis, tickvals=ticks, ticktext=[f"{value:g}" for value in ticks])
    if logarithmic:
        figure.update_xaxes(type="log")
    figure.update_yaxes(title=f"AUROC on {part}", tickformat=".2f", range=_reach([*known, *reach], chance=False))
    for number, line in enumerate(lines):
        colour, dash = RUNS[theme][number % len(RUNS[theme])]
        figure.add_trace(
            go.Scatter(
                x=line.x,
                y=[_plain(area.auroc) for area in line.aurocs],
                text=[format_auroc(area) for area in line.aurocs],
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": dash},
                marker={"symbol": MARKS["estimate"], "size": 9},
                error_y=_bars(line.aurocs, colour=colour),
                name=f"{line.name} ({percent(known[0].confidence)} interval)",
                hovertemplate="%{x:g}: %{text}<extra></extra>",
            )
        )
        if any(line.other_seeds):
            figure.add_trace(_seeds(line, colour=colour))
    return finish(figure, who(known[0]), theme=theme, plot_px=300)


def _seeds(line: AxisLine, *, colour: str) -> go.Scatter:
    pairs = [(x, area) for x, areas in zip(line.x, line.other_seeds, strict=True) for area in areas]
    return go.Scatter(
        x=[x for x, _ in pairs],
        y=[_plain(area) for _, area in pairs],
        mode="markers",
        marker={"symbol": MARKS["other estimate"], "size": 7, "color": colour},
        name=f"{line.name}, other seeds",
        hovertemplate="%{x:g}: %{y:.3f}<extra>another seed</extra>",
    )


def _bars(aurocs: Sequence[Auroc], *, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [_plain((area.high or 0) - (area.auroc or 0) if area.high is not None else 0) for area in aurocs],
        "arrayminus": [_plain((area.auroc or 0) - (area.low or 0) if area.low is not None else 0) for area in aurocs],
        "color": colour,
        "thickness": 1.2,
        "width": 4,
    }


def _reach(aurocs: Sequence[Auroc], *, chance: bool) -> list[float]:
    """Range of the AUROC axis: covers the intervals and at least 0.2, so that small differences look small."""
    ends = [end for area in aurocs for end in (area.auroc, area.low, area.high) if end is not None]
    low, high = min([*ends, 0.5] if chance else ends), max(ends)
    missing = max(0.0, 0.2 - (high - low)) / 2
    return [max(-0.01, low - missing - 0.02), min(1.02, high + missing + 0.02)]


def _plain(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)
