"""Precision–recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.palette import DASHES, PAPER, SCORES, Kind, Theme
from analysis.figures.paper import empty, films_of, finish, left_out, new_figure, percent, rounded, with_interval
from analysis.statistics import Auprc, PrecisionRecall


@dataclass(frozen=True)
class PrecisionCurve:
    """A curve of a precision–recall figure: its kind of score, points and average precision."""

    kind: Kind
    curve: PrecisionRecall
    auprc: Auprc


def precision_figure(
    scores: Sequence[PrecisionCurve],
    *,
    image_ids: Sequence[str | None],
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """Precision over sensitivity for each kind of score, average precision in the legend, and the prevalence as the
    line of uninformative scores. image_ids[i] is the id of film i of the arrays from which the curves were computed."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_xaxes(title="Sensitivity (recall)", range=[-0.01, 1.01], dtick=0.2)
    figure.update_yaxes(title="Precision", range=[-0.01, 1.01], dtick=0.2)
    reason = next((score.curve.reason for score in scores if score.curve.reason), "")
    if reason or not scores:
        return empty(figure, reason or "No scores yet.", theme=theme)
    for score in scores:
        figure.add_trace(_trace(score, image_ids=image_ids, theme=theme))
    first = scores[0].auprc
    share = first.prevalence or 0.0
    line = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=rounded(np.array([share, share])),
            mode="lines",
            line=line,
            name=f"Prevalence {share:.3f}: uninformative scores",
            hoverinfo="skip",
        )
    )
    who = f"n = {films_of(first.positives, 'abnormal')}, {films_of(first.negatives, 'normal')}"
    who += left_out(first.left_out) + f"<br>Average precision ({percent(first.confidence)} interval)"
    return finish(figure, who, theme=theme)


def _trace(score: PrecisionCurve, *, image_ids: Sequence[str | None], theme: Theme) -> go.Scatter:
    curve, area = score.curve, score.auprc
    words = "not defined" if area.auprc is None else with_interval(area.auprc, area.low, area.high)
    return go.Scatter(
        x=rounded(np.r_[0.0, curve.recall]),
        y=rounded(np.r_[curve.precision[:1], curve.precision]),
        text=["", *(f"{threshold:.4g}" for threshold in curve.thresholds)],
        customdata=[None, *(image_ids[film] for film in curve.films)],
        mode="lines",
        line={
            "color": SCORES[theme][score.kind],
            "width": 3 if score.kind == "fused" else 2,
            "dash": DASHES[score.kind],
            "shape": "vh",
        },
        name=f"{score.kind.capitalize()} {words}",
        hovertemplate=(
            "precision %{y:.3f}, sensitivity %{x:.3f}<br>threshold %{text}<br>film %{customdata}"
            f"<extra>{score.kind.capitalize()}</extra>"
        ),
    )
