"""Statistics to Plotly figures; pure: no Django, no files, nothing remembered.

Every figure says how many films it stands on, carries "Research use only. Not a medical device.", and with
`random_weights` the loud line as well, inside the figure so that an exported image keeps it. A mark that stands
for a film has the film's id as `customdata`; a film whose id is None counts, but has no mark. Legends stand below
the plot and heights are fixed in pixels, so that a figure reads the same 400 and 1,400 pixels wide.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from analysis.palette import ALARM, DASHES, LABELS, PAPER, SCORES, SHAPES, Kind, Theme, translucent
from analysis.statistics import Auroc, FusionSweep, Histogram, RocBand, RocCurve

NOTICE = "Research use only. Not a medical device."
RANDOM_WEIGHTS = "random weights, not for evaluation"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif'

PLOT_PX = 370  # height of the plot itself
AXIS_PX = 52  # ticks and title of the horizontal axis
LINE_PX = 19  # an entry of the legend
TITLE_LINE_PX = 16  # a line of the legend's title
FOOT_PX = 24  # the notice
ROC_POINTS = 400  # drawn of each curve


@dataclass(frozen=True)
class KindOfScore:
    """One curve of an ROC figure: its kind, points and AUROC."""

    kind: Kind
    curve: RocCurve
    auroc: Auroc


def format_auroc(auroc: Auroc) -> str:
    """0.774 (0.755–0.793); "0.774 (no interval)" or "not defined" where the sample does not allow more."""
    if auroc.auroc is None:
        return "not defined"
    return _with_interval(auroc.auroc, auroc.low, auroc.high)


def as_json(figure: go.Figure) -> dict[str, Any]:
    """{"data": […], "layout": {…}} of plain lists, numbers and text, for `json.dumps` and `Plotly.react`."""
    plain: dict[str, Any] = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return {"data": plain["data"], "layout": plain["layout"]}


def roc_figure(
    scores: Sequence[KindOfScore],
    *,
    image_ids: Sequence[str | None],
    band: RocBand | None = None,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """ROC of each kind of score, AUROC in the legend, `band` drawn as that of fused, and the chance line.

    image_ids[i] is the id of film i of the arrays that the curves were made from.
    """
    figure = _figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_xaxes(
        title="1 − specificity", range=[-0.01, 1.01], dtick=0.2, constrain="domain", constraintoward="left"
    )
    figure.update_yaxes(title="Sensitivity", range=[-0.01, 1.01], dtick=0.2, constrain="domain", constraintoward="top")
    figure.update_yaxes(scaleanchor="x", scaleratio=1)
    reason = next((score.curve.reason for score in scores if score.curve.reason), "")
    if reason or not scores:
        return _empty(figure, reason or "No scores yet.", theme=theme)
    if band is not None and len(band.low):
        name = f"{_percent(band.confidence)} band of fused, pointwise"
        _add_band(figure, band.false_positive_rate, band.low, band.high, name=name, theme=theme)
    for score in scores:
        figure.add_trace(_roc_trace(score, image_ids=image_ids, theme=theme))
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    return _finish(figure, _who(scores[0].auroc), theme=theme)


def sweep_figure(
    sweep: FusionSweep,
    *,
    run_weight: float,
    chosen_weight: float | None = None,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """AUROC over the fusion weight with its interval; the run's weight and the one chosen on tune (None where
    nothing was chosen) are marked, and the ends carry the colours of global and region."""
    figure = _figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_xaxes(title="Fusion weight w of region", range=[-0.02, 1.02], dtick=0.2)
    figure.update_yaxes(title="AUROC", tickformat=".2f")
    if not len(sweep.auroc):
        return _empty(figure, sweep.reason, theme=theme)
    figure.update_yaxes(range=_span(sweep))
    if len(sweep.low):
        name = f"{_percent(sweep.confidence)} interval"
        _add_band(figure, sweep.weights, sweep.low, sweep.high, name=name, theme=theme)
    line = {"color": SCORES[theme]["fused"], "width": 2.5}
    figure.add_trace(
        go.Scatter(
            x=_rounded(sweep.weights),
            y=_rounded(sweep.auroc),
            text=[_at(sweep, k) for k in range(len(sweep.weights))],
            mode="lines",
            line=line,
            name="Fused",
            hovertemplate="w = %{x:.2f}<br>AUROC %{text}<extra></extra>",
        )
    )
    _mark_weight(figure, sweep, 0.0, name="Global", symbol="circle", colour=SCORES[theme]["global"])
    _mark_weight(figure, sweep, 1.0, name="Region", symbol="circle", colour=SCORES[theme]["region"])
    ink = PAPER[theme]["ink"]
    if chosen_weight is not None:
        _mark_weight(figure, sweep, chosen_weight, name="On tune", symbol="star", colour=ink)
    _mark_weight(figure, sweep, run_weight, name="Run", symbol="diamond-open", colour=ink, size=18)
    text = f"n = {_films(sweep.positives, 'abnormal')}, {_films(sweep.negatives, 'normal')}"
    return _finish(figure, text + _left_out(sweep.left_out), theme=theme)


def histogram_figure(
    histogram: Histogram,
    *,
    scores: ArrayLike,
    groups: ArrayLike,
    image_ids: Sequence[str | None],
    score_name: str = "Fused score",
    threshold: float | None = None,
    max_films: int = 1000,
    theme: Theme = "light",
    random_weights: bool = False,
    title: str = "",
) -> go.Figure:
    """Counts by label on common bins, and below them one mark a film.

    scores (N,) and groups (N,) are what the histogram was made from, image_ids (N) their films. Of more than
    `max_films` films, marks are drawn for the highest, the lowest and evenly spaced ones of each label, and the
    axis says so.
    """
    names = _in_order(histogram.counts)
    figure = _figure(theme=theme, random_weights=random_weights, title=title)
    figure.update_yaxes(title="Films", domain=[0.3, 1], rangemode="tozero")
    if not names:
        return _empty(figure, "No film has a score yet.", theme=theme)
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(groups).astype(str)
    told_apart = np.isfinite(values) & np.array([image is not None for image in image_ids], dtype=bool)
    centres = _rounded((histogram.edges[:-1] + histogram.edges[1:]) / 2)
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
        films = _spread(values, np.flatnonzero((labels == name) & told_apart), max_films // len(names))
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
    if threshold is not None:
        _mark_threshold(figure, threshold, histogram=histogram, theme=theme)
    return _finish(figure, f"n = {total:,} films" + _left_out(histogram.left_out), theme=theme)


def _figure(*, theme: Theme, random_weights: bool, title: str) -> go.Figure:
    paper = PAPER[theme]
    top = 14 + 26 * bool(title) + 34 * random_weights
    axis = {
        "gridcolor": paper["grid"],
        "linecolor": paper["line"],
        "tickcolor": paper["line"],
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "zeroline": False,
        "title": {"standoff": 8, "font": {"size": 13}},
    }
    layout: dict[str, Any] = {
        "template": {},
        "margin": {"l": 72, "r": 16, "t": top, "autoexpand": False},
        "paper_bgcolor": paper["paper"],
        "plot_bgcolor": paper["paper"],
        "font": {"family": FONT, "size": 12, "color": paper["ink"]},
        "xaxis": axis,
        "yaxis": axis,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": paper["paper"], "bordercolor": paper["line"], "font": {"color": paper["ink"]}},
        "legend": {
            "x": 0,
            "xanchor": "left",
            "yref": "container",
            "yanchor": "bottom",
            "tracegroupgap": 0,
            "bgcolor": "rgba(0, 0, 0, 0)",
            "title": {"font": {"size": 12, "color": paper["muted"]}},
            "itemclick": "toggle",
        },
    }
    figure = go.Figure(layout=layout)
    if title:
        _note(figure, title, y=1, yshift=8, yanchor="bottom", colour=paper["ink"], size=14)
    if random_weights:
        _shout(figure, yshift=top - 6)
    return figure


def _finish(figure: go.Figure, legend_title: str, *, theme: Theme) -> go.Figure:
    """Height, bottom margin, legend and notice, once it is known how much the legend says."""
    entries = sum(trace.showlegend is not False for trace in figure.data)
    title_lines = 1 + legend_title.count("<br>") if legend_title else 0
    bottom = AXIS_PX + LINE_PX * entries + TITLE_LINE_PX * title_lines + FOOT_PX
    height = figure.layout.margin.t + PLOT_PX + bottom
    figure.update_layout(height=height, margin_b=bottom, legend_y=FOOT_PX / height)
    figure.update_layout(legend_title_text=legend_title)
    _note(figure, NOTICE, y=0, yshift=4 - bottom, yanchor="bottom", colour=PAPER[theme]["muted"], size=11)
    return figure


def _note(figure: go.Figure, text: str, *, y: float, yshift: float, yanchor: str, colour: str, size: int) -> None:
    figure.add_annotation(
        text=text,
        x=0,
        xref="paper",
        xanchor="left",
        y=y,
        yref="paper",
        yanchor=yanchor,
        yshift=yshift,
        align="left",
        showarrow=False,
        font={"color": colour, "size": size},
    )


def _shout(figure: go.Figure, *, yshift: float) -> None:
    figure.add_annotation(
        text=f"<b>{RANDOM_WEIGHTS}</b>",
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref="paper",
        yanchor="top",
        yshift=yshift,
        showarrow=False,
        bgcolor=ALARM,
        borderpad=5,
        font={"color": "#ffffff", "size": 13},
    )


def _empty(figure: go.Figure, reason: str, *, theme: Theme) -> go.Figure:
    figure.update_xaxes(range=[0, 1], showticklabels=False, ticks="", showgrid=False)
    figure.update_yaxes(range=[0, 1], showticklabels=False, ticks="", showgrid=False, domain=[0, 1])
    figure.add_annotation(
        text="<br>".join(textwrap.wrap(reason, 42)),
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"size": 14, "color": PAPER[theme]["ink"]},
    )
    return _finish(figure, "", theme=theme)


def _roc_trace(score: KindOfScore, *, image_ids: Sequence[str | None], theme: Theme) -> go.Scatter:
    curve, colour = score.curve.thinned(ROC_POINTS), SCORES[theme][score.kind]
    return go.Scatter(
        x=_rounded(curve.false_positive_rate),
        y=_rounded(curve.sensitivity),
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


def _add_band(
    figure: go.Figure,
    x: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    name: str,
    theme: Theme,
) -> None:
    figure.add_trace(
        go.Scatter(
            x=_rounded(np.r_[x, x[::-1]]),
            y=_rounded(np.r_[high, low[::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=translucent(SCORES[theme]["fused"], 0.22),
            name=name,
            hoverinfo="skip",
        )
    )


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


def _film_marks(
    name: str,
    row: int,
    films: NDArray[np.int64],
    *,
    values: NDArray[np.float64],
    image_ids: Sequence[str | None],
    colour: str,
) -> go.Scatter:
    heights = row + 0.55 * ((np.arange(len(films)) * 0.618034) % 1 - 0.5)  # spread evenly, not by chance
    return go.Scatter(
        x=_rounded(values[films]),
        y=[round(float(height), 2) for height in heights],
        yaxis="y2",
        customdata=[image_ids[film] for film in films],
        mode="markers",
        marker={"symbol": SHAPES.get(name, "circle"), "color": colour, "size": 6, "opacity": 0.6},
        legendgroup=name,
        showlegend=False,
        hovertemplate=f"score %{{x:.4g}}<br>film %{{customdata}}<extra>{name.capitalize()}</extra>",
    )


def _mark_threshold(figure: go.Figure, threshold: float, *, histogram: Histogram, theme: Theme) -> None:
    ink = PAPER[theme]["ink"]
    figure.add_shape(
        type="line",
        x0=threshold,
        x1=threshold,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": ink, "width": 1.5, "dash": "dash"},
    )
    left_half = threshold < (histogram.edges[0] + histogram.edges[-1]) / 2
    figure.add_annotation(
        text=f"threshold {threshold:.4g}",
        x=threshold,
        y=1,
        yref="paper",
        xanchor="left" if left_half else "right",
        yanchor="top",
        xshift=4 if left_half else -4,
        showarrow=False,
        bgcolor=PAPER[theme]["paper"],
    )


def _spread(values: NDArray[np.float64], films: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """At most `limit` of the films, by rising score: the outermost 25 at each end, evenly thinned between."""
    ranked = films[np.argsort(values[films], kind="stable")]
    if len(ranked) <= limit:
        return ranked
    ends = min(25, limit // 4)
    middle = np.linspace(ends, len(ranked) - ends - 1, limit - 2 * ends).round().astype(np.int64)
    return ranked[np.r_[np.arange(ends), middle, np.arange(len(ranked) - ends, len(ranked))]]


def _in_order(counts: dict[str, NDArray[np.int64]]) -> list[str]:
    known = [name for name in SHAPES if name in counts]
    return known + [name for name in counts if name not in SHAPES]


def _span(sweep: FusionSweep) -> list[float]:
    """A range of the AUROC axis that holds the interval and never makes a difference of 0.01 look large."""
    low = float((sweep.low if len(sweep.low) else sweep.auroc).min())
    high = float((sweep.high if len(sweep.high) else sweep.auroc).max())
    missing = max(0.0, 0.2 - (high - low)) / 2
    return [max(-0.01, low - missing - 0.01), min(1.01, high + missing + 0.01)]


def _who(auroc: Auroc) -> str:
    text = f"n = {_films(auroc.positives, 'abnormal')}, {_films(auroc.negatives, 'normal')}"
    if (auroc.positive_patients, auroc.negative_patients) != (auroc.positives, auroc.negatives):
        text += f"<br>of {auroc.positive_patients:,} and {auroc.negative_patients:,} patients"
    text += _left_out(auroc.left_out)
    if auroc.reason:
        return text + "<br>" + "<br>".join(textwrap.wrap(auroc.reason, 55))
    return text + f"<br>AUROC ({_percent(auroc.confidence)} interval)"


def _left_out(films: int) -> str:
    return f"<br>{films:,} without a score left out" if films else ""


def _films(count: int, word: str) -> str:
    return f"{count:,} {word}"


def _percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"


def _at(sweep: FusionSweep, k: int) -> str:
    if not len(sweep.low):
        return _with_interval(float(sweep.auroc[k]), None, None)
    return _with_interval(float(sweep.auroc[k]), float(sweep.low[k]), float(sweep.high[k]))


def _with_interval(area: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{area:.3f} (no interval)"
    return f"{area:.3f} ({low:.3f}–{high:.3f})"


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Plain numbers of five significant digits and at most five decimals below one: small in JSON."""
    return [float(f"{value:.5g}") for value in values.tolist()]
