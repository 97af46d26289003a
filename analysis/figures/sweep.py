"""AUROC over the fusion weight."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.palette import MARKS, PAPER, SCORES, Theme
from analysis.figures.paper import (
    add_band,
    empty,
    films_of,
    finish,
    left_out,
    new_figure,
    percent,
    rounded,
    with_interval,
)
from analysis.statistics import FusionSweep

NOT_TO_BE_REPORTED = "Best on test, not to be reported"


def sweep_figure(
    sweep: FusionSweep,
    *,
    run_weight: float,
    chosen_weight: float | None = None,
    on_test: bool = False,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """AUROC over the fusion weight with its interval, with marks at the run's weight, at the weight chosen on tune
    (None where none was chosen), and at both ends in the colours of global and region. `on_test` labels the highest
    AUROC of a test part as chosen on test, and not to be reported."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_xaxes(title="Fusion weight w of region", range=[-0.02, 1.02], dtick=0.2)
    figure.update_yaxes(title="AUROC", tickformat=".2f")
    if not len(sweep.auroc):
        return empty(figure, sweep.reason, theme=theme)
    figure.update_yaxes(range=_span(sweep))
    if len(sweep.low):
        name = f"{percent(sweep.confidence)} interval"
        add_band(figure, sweep.weights, sweep.low, sweep.high, name=name, theme=theme)
    line = {"color": SCORES[theme]["fused"], "width": 2.5}
    figure.add_trace(
        go.Scatter(
            x=rounded(sweep.weights),
            y=rounded(sweep.auroc),
            text=[_at(sweep, k) for k in range(len(sweep.weights))],
            mode="lines",
            line=line,
            name="Fused",
            hovertemplate="w = %{x:.2f}<br>AUROC %{text}<extra></extra>",
        )
    )
    _mark_weight(figure, sweep, 0.0, name="Global", symbol=MARKS["estimate"], colour=SCORES[theme]["global"])
    _mark_weight(figure, sweep, 1.0, name="Region", symbol=MARKS["estimate"], colour=SCORES[theme]["region"])
    ink = PAPER[theme]["ink"]
    if on_test:
        _warn_of_best(figure, sweep, colour=PAPER[theme]["muted"])
    if chosen_weight is not None:
        _mark_weight(figure, sweep, chosen_weight, name="On tune", symbol=MARKS["chosen"], colour=ink)
    _mark_weight(figure, sweep, run_weight, name="Run", symbol=MARKS["setting"], colour=ink, size=18)
    text = f"n = {films_of(sweep.positives, 'abnormal')}, {films_of(sweep.negatives, 'normal')}"
    return finish(figure, text + left_out(sweep.left_out), theme=theme)


def _mark_weight(
    figure: go.Figure,
    sweep: FusionSweep,
    weight: float,
    *,
    name: str,
    symbol: str,
    colour: str,
    size: int = 12,
) -> None:
    k = int(np.argmin(np.abs(sweep.weights - weight)))
    figure.add_trace(
        go.Scatter(
            x=[round(float(sweep.weights[k]), 5)],
            y=[round(float(sweep.auroc[k]), 5)],
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": size, "line": {"width": 2, "color": colour}},
            cliponaxis=False,
            name=f"{name}, w {weight:g}: {_at(sweep, k)}",
            hovertemplate=f"{name}<br>w = {weight:.2f}<br>AUROC {_at(sweep, k)}<extra></extra>",
        )
    )


def _warn_of_best(figure: go.Figure, sweep: FusionSweep, *, colour: str) -> None:
    """Mark the highest AUROC without its value, since nothing is chosen on test."""
    k = int(np.argmax(sweep.auroc))
    figure.add_trace(
        go.Scatter(
            x=[round(float(sweep.weights[k]), 5)],
            y=[round(float(sweep.auroc[k]), 5)],
            mode="markers",
            marker={
                "symbol": MARKS["best on test"],
                "color": colour,
                "size": 10,
                "line": {"width": 2, "color": colour},
            },
            cliponaxis=False,
            name=NOT_TO_BE_REPORTED,
            hovertemplate=f"{NOT_TO_BE_REPORTED}<br>w = %{{x:.2f}}<extra></extra>",
        )
    )


def _span(sweep: FusionSweep) -> list[float]:
    """Range of the AUROC axis: covers the interval and at least 0.2, so that small differences look small."""
    low = float((sweep.low if len(sweep.low) else sweep.auroc).min())
    high = float((sweep.high if len(sweep.high) else sweep.auroc).max())
    missing = max(0.0, 0.2 - (high - low)) / 2
    return [max(-0.01, low - missing - 0.01), min(1.01, high + missing + 0.01)]


def _at(sweep: FusionSweep, k: int) -> str:
    if not len(sweep.low):
        return with_interval(float(sweep.auroc[k]), None, None)
    return with_interval(float(sweep.auroc[k]), float(sweep.low[k]), float(sweep.high[k]))
