"""Free-response ROC curves."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.palette import DASHES, MARKS, SCORES, Kind, Theme
from analysis.figures.paper import empty, finish, new_figure, percent, rounded, with_interval

LEAST, MOST = 1 / 8, 8.0  # range of false positives per film that is drawn


@dataclass(frozen=True)
class FrocCurve:
    """A curve: its points by falling threshold, its sensitivity at fixed rates with intervals ([] without them), and
    the mean over these rates."""

    kind: Kind
    false_positives_per_film: Sequence[float]
    sensitivity: Sequence[float]
    rates: Sequence[float]
    at_rates: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    mean_sensitivity: float | None
    mean_low: float | None
    mean_high: float | None
    films: int
    lesions: int
    confidence: float
    reason: str = ""


def froc_figure(
    curves: Sequence[FrocCurve], *, theme: Theme = "light", random_weights: bool = False, title: str = ""
) -> go.Figure:
    """Share of boxes found over false marks per film, on a logarithmic axis from 1/8 to 8, with the interval of fused
    at fixed rates; the mean sensitivity over these rates in the legend."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    figure.update_xaxes(
        title="False marks per film",
        type="log",
        range=[float(np.log10(LEAST * 0.95)), float(np.log10(MOST * 1.05))],
        tickvals=ticks,
        ticktext=["1/8", "1/4", "1/2", *(f"{tick:g}" for tick in ticks[3:])],
    )
    figure.update_yaxes(title="Boxes found", range=[-0.01, 1.01], dtick=0.2)
    known = [curve for curve in curves if len(curve.sensitivity)]
    if not known:
        return empty(figure, curves[0].reason if curves else "No boxes.", theme=theme)
    for curve in known:
        figure.add_trace(_trace(curve, theme=theme))
    fused = next((curve for curve in known if curve.kind == "fused" and len(curve.low)), None)
    if fused is not None:
        figure.add_trace(_interval(fused, theme=theme))
    first = known[0]
    who = f"n = {first.lesions:,} boxes; false marks of {first.films:,} films"
    if first.reason:
        who += "<br>" + "<br>".join(textwrap.wrap(first.reason, 55))
    who += f"<br>Mean over the ticks ({percent(first.confidence)} interval)"
    return finish(figure, who, theme=theme)


def _trace(curve: FrocCurve, *, theme: Theme) -> go.Scatter:
    x, y = drawn_points(curve)
    mean = curve.mean_sensitivity
    words = "not defined" if mean is None else with_interval(mean, curve.mean_low, curve.mean_high)
    return go.Scatter(
        x=rounded(x),
        y=rounded(y),
        mode="lines",
        line={
            "color": SCORES[theme][curve.kind],
            "width": 3 if curve.kind == "fused" else 2,
            "dash": DASHES[curve.kind],
            "shape": "hv",
        },
        name=f"{curve.kind.capitalize()} {words}",
        hovertemplate=f"%{{y:.3f}} of boxes at %{{x:.3g}} false marks a film<extra>{curve.kind.capitalize()}</extra>",
    )


def drawn_points(curve: FrocCurve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False marks per film and sensitivity within the range that is drawn; a logarithmic axis has no 0."""
    rates, sensitivity = np.asarray(curve.false_positives_per_film), np.asarray(curve.sensitivity)
    before, last = (sensitivity[rates <= end].max(initial=0.0) for end in (LEAST, MOST))
    inside = (rates > LEAST) & (rates <= MOST)
    return np.r_[LEAST, rates[inside], MOST], np.r_[before, sensitivity[inside], last]


def _interval(curve: FrocCurve, *, theme: Theme) -> go.Scatter:
    at, low, high = (np.asarray(values, dtype=np.float64) for values in (curve.at_rates, curve.low, curve.high))
    return go.Scatter(
        x=list(curve.rates),
        y=rounded(at),
        mode="markers",
        marker={"symbol": MARKS["estimate"], "color": SCORES[theme]["fused"], "size": 7},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": rounded(high - at),
            "arrayminus": rounded(at - low),
            "color": SCORES[theme]["fused"],
            "thickness": 1.2,
            "width": 4,
        },
        name=f"{percent(curve.confidence)} interval of fused",
        hovertemplate="%{y:.3f} at %{x:.3g} false marks a film<extra></extra>",
    )
