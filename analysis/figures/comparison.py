"""Several runs in one figure: their ROC curves, and two runs' scores film by film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.palette import LABELS, PAPER, RUNS, SHAPES, Theme
from analysis.figures.paper import add_line_across, empty, finish, format_auroc, new_figure, rounded, who
from analysis.figures.roc import ROC_POINTS
from analysis.statistics import Auroc, RocCurve

MOST_MARKS = 2000


@dataclass(frozen=True)
class RunCurve:
    """The ROC curve of a run."""

    name: str
    curve: RocCurve
    auroc: Auroc


def comparison_figure(
    runs: Sequence[RunCurve], *, theme: Theme = "light", random_weights: bool = False, title: str = "", note: str = ""
) -> go.Figure:
    """ROC of each run's fused score on the same films, and the chance line. `note` is a line above the legend."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_xaxes(title="1 − specificity", range=[-0.01, 1.01], dtick=0.2, constrain="domain")
    figure.update_yaxes(title="Sensitivity", range=[-0.01, 1.01], dtick=0.2, constrain="domain", constraintoward="top")
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    reason = next((run.curve.reason for run in runs if run.curve.reason), "")
    if reason or not runs:
        return empty(figure, reason or "No runs to compare.", theme=theme)
    for run, (colour, dash) in zip(runs, RUNS[theme], strict=False):
        thin = run.curve.thinned(ROC_POINTS)
        figure.add_trace(
            go.Scatter(
                x=rounded(thin.false_positive_rate),
                y=rounded(thin.sensitivity),
                mode="lines",
                line={"color": colour, "width": 2.5, "dash": dash},
                name=f"{run.name} {format_auroc(run.auroc)}",
                hovertemplate="sensitivity %{y:.3f}, 1 − specificity %{x:.3f}<extra></extra>",
            )
        )
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    return finish(figure, who(runs[0].auroc) + (f"<br>{note}" if note else ""), theme=theme)


def scatter_figure(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    labels: NDArray[np.int8],
    *,
    names: tuple[str, str],
    image_ids: Sequence[str | None],
    thresholds: tuple[float, float] | None = None,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """A mark for each film at its scores (N,) by two runs; lines at the two thresholds separate films that both call
    the same from those that they call differently. Of more than 2,000 films, 2,000 evenly spaced ones are drawn, which
    the title of the axis states; a film whose id is None has no mark."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    known = np.flatnonzero(
        np.isfinite(first) & np.isfinite(second) & np.array([image is not None for image in image_ids])
    )
    if not len(known):
        return empty(figure, "No film with both scores to show.", theme=theme)
    drawn = known if len(known) <= MOST_MARKS else known[np.linspace(0, len(known) - 1, MOST_MARKS).astype(np.int64)]
    of = "" if len(drawn) == len(first) else f", marks for {len(drawn):,} of {len(first):,} films"
    figure.update_xaxes(title=f"Fused score, {names[0]}{of}")
    figure.update_yaxes(title=f"Fused score, {names[1]}")
    for value, name in ((0, "normal"), (1, "abnormal")):
        films = drawn[labels[drawn] == value]
        figure.add_trace(
            go.Scatter(
                x=rounded(first[films]),
                y=rounded(second[films]),
                customdata=[image_ids[film] for film in films],
                mode="markers",
                marker={"symbol": SHAPES[name], "color": LABELS[theme][name], "size": 7, "opacity": 0.65},
                name=f"{name.capitalize()}, n = {int((labels == value).sum()):,}",
                hovertemplate="%{x:.4g}, %{y:.4g}<br>film %{customdata}<extra>" + name.capitalize() + "</extra>",
            )
        )
    if thresholds is not None:
        for at, name, is_vertical in zip(thresholds, names, (True, False), strict=True):
            line = {"color": PAPER[theme]["ink"], "width": 1, "dash": "dash" if is_vertical else "dot"}
            words = f"Threshold of {name}: {at:.4g}"
            add_line_across(figure, at, is_vertical=is_vertical, name=words, line=line)
    return finish(figure, f"n = {len(first):,} films", theme=theme)
