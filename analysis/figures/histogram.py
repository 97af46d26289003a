"""Scores by label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from analysis.figures.palette import LABELS, PAPER, SHAPES, Theme, translucent
from analysis.figures.paper import (
    add_line_across,
    empty,
    finish,
    left_out,
    new_figure,
    rounded,
)
from analysis.statistics import Histogram


def histogram_figure(
    histogram: Histogram,
    *,
    scores: ArrayLike,
    groups: ArrayLike,
    image_ids: Sequence[str | None],
    score_name: str = "Fused score",
    threshold: float | None = None,
    threshold_follows: bool = False,
    max_films: int = 1000,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """Counts by label on common bins, and below them a mark for each film.

    scores (N,) and groups (N,) are the input of the histogram, image_ids (N) the ids of their films. Of more than
    `max_films` films, the highest, the lowest and evenly spaced ones of each label get a mark, and the title of the
    axis states how many. `threshold_follows` reserves the line of the threshold in the legend, which the page fills in.
    """
    names = _in_order(histogram.counts)
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_yaxes(title="Films", domain=[0.3, 1], rangemode="tozero")
    if not names:
        return empty(figure, "No film has a score yet.", theme=theme)
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(groups).astype(str)
    markable = np.isfinite(values) & np.array([image is not None for image in image_ids], dtype=bool)
    centres = rounded((histogram.edges[:-1] + histogram.edges[1:]) / 2)
    drawn = 0
    for row, name in enumerate(names):
        counts = histogram.counts[name]
        colour = LABELS[theme].get(name, PAPER[theme]["muted"])
        figure.add_trace(
            go.Bar(
                x=centres,
                y=[count or None for count in counts.tolist()],
                width=float(histogram.edges[1] - histogram.edges[0]),
                name=f"{name.capitalize()}, n = {counts.sum():,}",
                legendgroup=name,
                marker={"color": translucent(colour, 0.5), "line": {"color": colour, "width": 1}},
                hovertemplate="%{y} films around %{x:.4g}<extra>" + name.capitalize() + "</extra>",
            )
        )
        films = _spread(values, np.flatnonzero((labels == name) & markable), max_films // len(names))
        drawn += len(films)
        figure.add_trace(_film_marks(name, row, films, values=values, image_ids=image_ids, colour=colour))
    total = sum(int(counts.sum()) for counts in histogram.counts.values())
    of = "" if drawn == total else f", marks for {drawn:,} of {total:,} films"
    figure.update_xaxes(title=score_name + of, anchor="y2")
    figure.update_layout(
        barmode="overlay",
        bargap=0,
        yaxis2={
            "domain": [0, 0.26],
            "range": [len(names) - 0.4, -0.6],
            "tickvals": list(range(len(names))),
            "ticktext": [name.capitalize() for name in names],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
    )
    if threshold is not None or threshold_follows:
        name = "No threshold" if threshold is None else f"Threshold {threshold:.4g}"
        line = {"color": PAPER[theme]["ink"], "width": 1.5, "dash": "dash"}
        add_line_across(figure, threshold, is_vertical=True, name=name, line=line, meta="operating")
    return finish(figure, f"n = {total:,} films" + left_out(histogram.left_out), theme=theme)


def _film_marks(
    name: str,
    row: int,
    films: NDArray[np.int64],
    *,
    values: NDArray[np.float64],
    image_ids: Sequence[str | None],
    colour: str,
) -> go.Scatter:
    heights = row + 0.55 * ((np.arange(len(films)) * 0.618034) % 1 - 0.5)  # jitter, but deterministic and even
    return go.Scatter(
        x=rounded(values[films]),
        y=[round(float(height), 2) for height in heights],
        yaxis="y2",
        customdata=[image_ids[film] for film in films],
        mode="markers",
        marker={"symbol": SHAPES.get(name, "circle"), "color": colour, "size": 6, "opacity": 0.6},
        legendgroup=name,
        name=f"{name.capitalize()}, one film each",
        hovertemplate=f"score %{{x:.4g}}<br>film %{{customdata}}<extra>{name.capitalize()}</extra>",
    )


def _spread(values: NDArray[np.float64], films: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """At most `limit` of the films, by rising score: the outermost 25 at each end, evenly spaced ones between."""
    ranked = films[np.argsort(values[films], kind="stable")]
    if len(ranked) <= limit:
        return ranked
    ends = min(25, limit // 4)
    middle = np.linspace(ends, len(ranked) - ends - 1, limit - 2 * ends).round().astype(np.int64)
    return ranked[np.r_[np.arange(ends), middle, np.arange(len(ranked) - ends, len(ranked))]]


def _in_order(counts: dict[str, NDArray[np.int64]]) -> list[str]:
    known = [name for name in SHAPES if name in counts]
    return known + [name for name in counts if name not in SHAPES]
