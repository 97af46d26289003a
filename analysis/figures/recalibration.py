"""Predicted against observed risk, and the net benefit over the threshold of risk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.palette import MARKS, PAPER, SCORES, Theme
from analysis.figures.paper import add_band, empty, films_of, finish, left_out, new_figure, percent, rounded
from analysis.statistics import NetBenefit, RiskCalibration

HEADROOM = 1.1


def calibration_figure(
    calibration: RiskCalibration, *, theme: Theme = "light", random_weights: bool = False, title: str = ""
) -> go.Figure:
    """A mark for each group of films, with the interval of its observed risk, and the line of equal risks."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    groups = calibration.groups
    if not groups:
        return empty(figure, calibration.reason, theme=theme)
    observed = np.array([group.observed for group in groups])
    low, high = (
        np.array([limit if limit is not None else group.observed for group, limit in zip(groups, limits, strict=True)])
        for limits in ([group.low for group in groups], [group.high for group in groups])
    )
    predicted = np.array([group.predicted for group in groups])
    end = min(1.0, HEADROOM * float(max(high.max(), predicted.max())))
    figure.update_xaxes(title="Predicted risk", range=[0, end], tickformat=".2~f")
    figure.update_yaxes(title="Observed risk", range=[0, end], tickformat=".2~f")
    ink, colour = PAPER[theme]["ink"], SCORES[theme]["fused"]
    figure.add_trace(
        go.Scatter(
            x=rounded(predicted),
            y=rounded(observed),
            text=[f"{group.abnormal} abnormal of {group.films} films" for group in groups],
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": MARKS["estimate"], "line": {"width": 1, "color": ink}},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rounded(high - observed),
                "arrayminus": rounded(observed - low),
                "color": ink,
                "thickness": 1.2,
                "width": 4,
            },
            cliponaxis=False,
            name=f"Groups of films ({percent(calibration.confidence)} interval)",
            hovertemplate="predicted %{x:.3f}, observed %{y:.3f}<br>%{text}<extra></extra>",
        )
    )
    line = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    figure.add_trace(
        go.Scatter(x=[0, end], y=[0, end], mode="lines", line=line, name="Predicted as observed", hoverinfo="skip")
    )
    who = f"n = {films_of(calibration.positives, 'abnormal')}, {films_of(calibration.negatives, 'normal')}"
    who += f"<br>at a prevalence of {calibration.prevalence:g}" + left_out(calibration.left_out)
    return finish(figure, who, theme=theme)


def decision_figure(
    benefits: Sequence[NetBenefit],
    *,
    calibration: RiskCalibration,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """Net benefit of calling films by their risk, of calling all, and of calling none."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    if not benefits:
        return empty(figure, calibration.reason, theme=theme)
    thresholds = np.array([row.threshold for row in benefits])
    values = np.array([row.value for row in benefits])
    low, high = (np.array([getattr(row, name) for row in benefits]) for name in ("low", "high"))
    top = HEADROOM * calibration.prevalence
    figure.update_xaxes(title="Risk from which a film is called", range=[0, float(thresholds.max())], tickformat=".2~f")
    figure.update_yaxes(title="Net benefit", range=[-0.3 * top, top], tickformat=".3~f")
    add_band(figure, thresholds, low, high, name=f"{percent(calibration.confidence)} interval", theme=theme)
    traces = (
        ("By the risk of the film", values, {"color": SCORES[theme]["fused"], "width": 2.5}),
        ("All called", np.array([row.all_called for row in benefits]), {"color": PAPER[theme]["ink"], "width": 1.5}),
        ("None called", np.zeros(len(values)), {"color": PAPER[theme]["muted"], "width": 1.5, "dash": "dash"}),
    )
    for name, row, line in traces:
        figure.add_trace(
            go.Scatter(
                x=rounded(thresholds),
                y=rounded(row),
                mode="lines",
                line=line,
                name=name,
                hovertemplate="net benefit %{y:.4f} from a risk of %{x:.3f}<extra>" + name + "</extra>",
            )
        )
    who = f"n = {films_of(calibration.positives, 'abnormal')}, {films_of(calibration.negatives, 'normal')}"
    return finish(figure, f"{who}<br>at a prevalence of {calibration.prevalence:g}", theme=theme)
