"""Scores of the films of each import against the calibration normals."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.figures.palette import LABELS, MARKS, PAPER, SCORES, Theme
from analysis.figures.paper import empty, finish, format_auroc, new_figure
from analysis.statistics import BatchDrift

ROW_PX = 34
LEAST_PX = 120
APART = 0.13  # of a row, between the marks of all films and of the normal ones


def drift_figure(
    batches: Sequence[BatchDrift],
    normals: Sequence[BatchDrift],
    *,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """A row for each import, from the top: the probability that one of its films scores higher than a calibration
    normal, for all films and for normal ones; a line at 0.5, which is no drift."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    if not any(row.above for row in batches):
        return empty(figure, "No import has enough films for a comparison.", theme=theme)
    place = {row.name: k for k, row in enumerate(batches)}
    figure.update_yaxes(
        range=[len(batches) - 0.4, -0.6],
        tickvals=list(place.values()),
        ticktext=[name.replace(" into ", "<br>").replace(", ", "<br>") for name in place],
        automargin=True,
        showgrid=False,
        ticks="",
    )
    figure.update_layout(margin_l=122)
    figure.update_xaxes(title="Higher than a calibration normal", range=[-0.01, 1.01], dtick=0.25)
    for name, rows, colour, symbol, shift in (
        ("All films", batches, SCORES[theme]["fused"], MARKS["estimate"], -APART),
        ("Labelled normal", normals, LABELS[theme]["normal"], MARKS["other estimate"], APART),
    ):
        known = [(place[row.name] + shift, row.above) for row in rows if row.above and row.above.auroc is not None]
        figure.add_trace(
            go.Scatter(
                x=[round(float(area.auroc or 0), 5) for _, area in known],
                y=[height for height, _ in known],
                text=[format_auroc(area) for _, area in known],
                mode="markers",
                marker={"color": colour, "size": 9, "symbol": symbol},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [round((area.high or 0) - (area.auroc or 0), 5) for _, area in known],
                    "arrayminus": [round((area.auroc or 0) - (area.low or 0), 5) for _, area in known],
                    "color": colour,
                    "thickness": 1.2,
                    "width": 4,
                },
                name=f"{name} (95 % interval)",
                hovertemplate="%{text}<extra>" + name + "</extra>",
            )
        )
    line = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    ends = [-0.6, len(batches) - 0.4]
    figure.add_trace(go.Scatter(x=[0.5, 0.5], y=ends, mode="lines", line=line, name="No drift 0.500", hoverinfo="skip"))
    films = sum(row.films for row in batches)
    return finish(
        figure, f"n = {films:,} films in {len(batches)} imports", theme=theme,
        plot_px=max(LEAST_PX, ROW_PX * len(batches)),
    )  # fmt: skip
