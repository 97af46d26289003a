"""AUROC by group: a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.palette import PAPER, SCORES, Theme
from analysis.figures.paper import empty, finish, format_auroc, new_figure, percent
from analysis.statistics import Auroc

ROW_PX = 24
LEAST_PX = 120


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

    A row without an AUROC is drawn empty rather than left out.
    """
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    if not rows:
        return empty(figure, "No group to show: the films have no attributes to group them by.", theme=theme)
    ink, colour = PAPER[theme]["ink"], SCORES[theme]["fused"]
    height = max(LEAST_PX, ROW_PX * len(rows))
    places = list(range(len(rows)))
    figure.update_yaxes(
        range=[len(rows) - 0.4, -0.6],
        tickvals=places,
        ticktext=[f"{row.name}, n = {row.films:,}" for row in rows],
        automargin=True,
        showgrid=False,
        ticks="",
    )
    figure.update_layout(margin_l=180)
    figure.update_xaxes(title="AUROC", range=[-0.01, 1.01], dtick=0.2)
    known = [(place, row.auroc) for place, row in zip(places, rows, strict=True) if row.auroc and row.auroc.auroc]
    values = [round(float(area.auroc or 0), 5) for _, area in known]
    figure.add_trace(
        go.Scatter(
            x=values,
            y=[place for place, _ in known],
            text=[format_auroc(area) for _, area in known],
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": "square", "line": {"width": 1, "color": ink}},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_reach(area.high, value) for (_, area), value in zip(known, values, strict=True)],
                "arrayminus": [_reach(value, area.low) for (_, area), value in zip(known, values, strict=True)],
                "color": ink,
                "thickness": 1.2,
                "width": 4,
            },
            name=f"AUROC ({percent(overall.confidence)} interval)",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    ends = [-0.6, len(rows) - 0.4]
    figure.add_trace(go.Scatter(x=[0.5, 0.5], y=ends, mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    if overall.auroc is not None:
        at = round(overall.auroc, 5)
        line = {"color": colour, "width": 1.5, "dash": "dash"}
        name = f"All films {format_auroc(overall)}"
        figure.add_trace(go.Scatter(x=[at, at], y=ends, mode="lines", line=line, name=name, hoverinfo="skip"))
    return finish(figure, "", theme=theme, plot_px=height)


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else round(max(0.0, high - low), 5)
