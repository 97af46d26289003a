"""Readers as points on the model's ROC: without the model, and with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.palette import MARKS, PAPER, RUNS, Theme
from analysis.figures.paper import empty, finish, new_figure, rounded, who, with_interval
from analysis.statistics import Auroc, ReaderPoint, RocCurve

ROC_POINTS = 400
_SYMBOLS = {"unaided": MARKS["reader"], "aided": MARKS["reader with model"]}


@dataclass(frozen=True)
class ReaderMarks:
    """A reader's two points."""

    name: str
    unaided: ReaderPoint
    aided: ReaderPoint


def reader_study_figure(
    curve: RocCurve,
    auroc: Auroc,
    readers: Sequence[ReaderMarks],
    *,
    theme: Theme = "light",
    random_weights: bool = False,
) -> go.Figure:
    """The ROC of the model's scores, and for each reader a line from the open point without to the filled one with the
    model. No point is a film."""
    figure = new_figure(theme=theme, random_weights=random_weights, title="")
    figure.update_xaxes(
        title="1 − specificity", range=[-0.01, 1.01], dtick=0.2, constrain="domain", constraintoward="left"
    )
    figure.update_yaxes(title="Sensitivity", range=[-0.01, 1.01], dtick=0.2, constrain="domain", constraintoward="top")
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    if curve.reason:
        return empty(figure, curve.reason, theme=theme)
    thin = curve.thinned(ROC_POINTS)
    area = "not defined" if auroc.auroc is None else with_interval(auroc.auroc, auroc.low, auroc.high)
    figure.add_trace(
        go.Scatter(
            x=rounded(thin.false_positive_rate),
            y=rounded(thin.sensitivity),
            mode="lines",
            line={"color": PAPER[theme]["muted"], "width": 2},
            name=f"Model alone {area}",
            hovertemplate="sensitivity %{y:.3f}, 1 − specificity %{x:.3f}<extra>Model alone</extra>",
        )
    )
    for number, reader in enumerate(readers):
        colour = RUNS[theme][number % len(RUNS[theme])][0]
        figure.add_trace(_marks(reader, colour))
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    return finish(figure, f"{who(auroc)}<br>open: without the model, filled: with it", theme=theme)


def _marks(reader: ReaderMarks, colour: str) -> go.Scatter:
    shown = [
        (stage, point)
        for stage, point in (("unaided", reader.unaided), ("aided", reader.aided))
        if point.sensitivity.value is not None and point.specificity.value is not None
    ]
    return go.Scatter(
        x=[1 - float(point.specificity.value or 0) for _, point in shown],
        y=[float(point.sensitivity.value or 0) for _, point in shown],
        text=["without the model" if stage == "unaided" else "with the model" for stage, _ in shown],
        mode="lines+markers",
        line={"color": colour, "width": 1.5},
        marker={"symbol": [_SYMBOLS[stage] for stage, _ in shown], "size": 10, "color": colour},
        name=reader.name,
        hovertemplate="%{text}: sensitivity %{y:.3f}, 1 − specificity %{x:.3f}<extra>" + reader.name + "</extra>",
    )
