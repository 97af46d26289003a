"""AUROC by group: a forest plot."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.palette import MARKS, PAPER, SCORES, Theme
from analysis.figures.paper import NOTE_CHARACTERS, empty, finish, format_auroc, new_figure, percent, text_side
from analysis.statistics import Auroc

ROW_PX = 34
LEAST_PX = 120
MOST_NAMED = 8


@dataclass(frozen=True)
class ForestRow:
    """A row of the plot: its name, its number of films, its AUROC or None."""

    name: str
    films: int
    auroc: Auroc | None


def forest_figure(
    rows: Sequence[ForestRow],
    *,
    overall: Auroc,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """Each row's AUROC with its interval, from the top; a line at the AUROC of all films and one at chance.

    The estimate is printed above its mark. Rows without an AUROC, such as groups of a few films, are not drawn but
    named in the legend.
    """
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    if not rows:
        return empty(figure, "No group to show: the films have no attributes to group them by.", theme=theme)
    drawn, others = divide_rows(rows)
    if not drawn:
        return empty(figure, f"No AUROC to show. {not_drawn(others)}", theme=theme)
    ink, colour = PAPER[theme]["ink"], SCORES[theme]["fused"]
    height = max(LEAST_PX, ROW_PX * len(drawn))
    figure.update_yaxes(
        range=[len(drawn) - 0.4, -0.7],
        tickvals=list(range(len(drawn))),
        ticktext=[f"{row.name}, n = {row.films:,}" for row, _ in drawn],
        automargin=True,
        showgrid=False,
        ticks="",
    )
    figure.update_layout(margin_l=180)
    reach = [-0.01, 1.01]
    figure.update_xaxes(title="AUROC", range=reach, dtick=0.2)
    values = [round(float(area.auroc or 0), 5) for _, area in drawn]
    figure.add_trace(
        go.Scatter(
            x=values,
            y=list(range(len(drawn))),
            text=[format_auroc(area) for _, area in drawn],
            textposition=[text_side(value, reach) for value in values],
            textfont={"size": 11},
            mode="markers+text",
            marker={"color": colour, "size": 10, "symbol": MARKS["estimate"], "line": {"width": 1, "color": ink}},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_reach(area.high, value) for (_, area), value in zip(drawn, values, strict=True)],
                "arrayminus": [_reach(value, area.low) for (_, area), value in zip(drawn, values, strict=True)],
                "color": ink,
                "thickness": 1.2,
                "width": 4,
            },
            cliponaxis=False,
            name=f"AUROC ({percent(overall.confidence)} interval)",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    ends = [-0.7, len(drawn) - 0.4]
    figure.add_trace(go.Scatter(x=[0.5, 0.5], y=ends, mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    if overall.auroc is not None:
        at = round(overall.auroc, 5)
        line = {"color": colour, "width": 1.5, "dash": "dash"}
        name = f"All films {format_auroc(overall)}"
        figure.add_trace(go.Scatter(x=[at, at], y=ends, mode="lines", line=line, name=name, hoverinfo="skip"))
    words = "<br>".join(textwrap.wrap(not_drawn(others), NOTE_CHARACTERS))
    return finish(figure, words, theme=theme, plot_px=height)


def divide_rows(rows: Sequence[ForestRow]) -> tuple[list[tuple[ForestRow, Auroc]], list[ForestRow]]:
    """The rows that have an AUROC, with it, and the others."""
    drawn = [(row, row.auroc) for row in rows if row.auroc is not None and row.auroc.auroc is not None]
    with_area = {id(row) for row, _ in drawn}
    return drawn, [row for row in rows if id(row) not in with_area]


def not_drawn(rows: Sequence[ForestRow]) -> str:
    """Which rows have no AUROC, as a sentence; blank if all have one."""
    if not rows:
        return ""
    named = ", ".join(f"{row.name} (n = {row.films:,})" for row in rows[:MOST_NAMED])
    more = len(rows) - MOST_NAMED
    return f"Too few films for an AUROC: {named}{f' and {more} more' if more > 0 else ''}."


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else round(max(0.0, high - low), 5)
