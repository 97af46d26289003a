"""ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.palette import DASHES, MARKS, PAPER, SCORES, Kind, Theme
from analysis.figures.paper import (
    add_band,
    empty,
    finish,
    format_auroc,
    new_figure,
    percent,
    rounded,
    who,
)
from analysis.statistics import Auroc, RocBand, RocCurve

ROC_POINTS = 400  # points drawn of each curve, at most


@dataclass(frozen=True)
class KindOfScore:
    """A curve of an ROC figure: its kind of score, points and AUROC."""

    kind: Kind
    curve: RocCurve
    auroc: Auroc


def roc_figure(
    scores: Sequence[KindOfScore],
    *,
    image_ids: Sequence[str | None],
    band: RocBand | None = None,
    band_follows: bool = False,
    point_follows: bool = False,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """ROC of each kind of score with AUROC in the legend, `band` as that of the fused score, and the chance line.

    image_ids[i] is the id of film i of the arrays from which the curves were computed. `band_follows` reserves the line
    of the band in the legend, `point_follows` that of the operating point, which the page fills in.
    """
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_xaxes(
        title="1 − specificity", range=[-0.01, 1.01], dtick=0.2, constrain="domain", constraintoward="left"
    )
    figure.update_yaxes(title="Sensitivity", range=[-0.01, 1.01], dtick=0.2, constrain="domain", constraintoward="top")
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    reason = next((score.curve.reason for score in scores if score.curve.reason), "")
    if reason or not scores:
        return empty(figure, reason or "No scores yet.", theme=theme)
    if band is not None and len(band.low):
        name = f"{percent(band.confidence)} band of fused, pointwise"
        add_band(figure, band.false_positive_rate, band.low, band.high, name=name, theme=theme)
    elif band_follows:
        name = "band when the slider stops"
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", line={"width": 0}, name=name))
    for score in scores:
        figure.add_trace(_roc_trace(score, image_ids=image_ids, theme=theme))
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    if point_follows:
        figure.add_trace(operating_mark(theme=theme))
    return finish(figure, who(scores[0].auroc), theme=theme)


def operating_mark(*, theme: Theme) -> go.Scatter:
    """The mark of the operating point, without its place."""
    ink = PAPER[theme]["ink"]
    return go.Scatter(
        meta="operating",
        x=[None],
        y=[None],
        mode="markers",
        marker={"symbol": MARKS["setting"], "size": 14, "color": ink, "line": {"width": 2, "color": ink}},
        cliponaxis=False,
        name="No operating point",
        hovertemplate="operating point<br>sensitivity %{y:.3f}, 1 − specificity %{x:.3f}<extra></extra>",
    )


def _roc_trace(score: KindOfScore, *, image_ids: Sequence[str | None], theme: Theme) -> go.Scatter:
    curve, colour = score.curve.thinned(ROC_POINTS), SCORES[theme][score.kind]
    return go.Scatter(
        x=rounded(curve.false_positive_rate),
        y=rounded(curve.sensitivity),
        text=["above every score", *(f"{t:.4g}" for t in curve.thresholds[1:])],
        customdata=[image_ids[film] if film >= 0 else None for film in curve.films],
        mode="lines",
        line={"color": colour, "width": 3 if score.kind == "fused" else 2, "dash": DASHES[score.kind]},
        name=f"{score.kind.capitalize()} {format_auroc(score.auroc)}",
        hovertemplate=(
            "sensitivity %{y:.3f}, 1 − specificity %{x:.3f}<br>threshold %{text}<br>film %{customdata}"
            f"<extra>{score.kind.capitalize()}</extra>"
        ),
    )
