"""Shared by all figures: the empty figure with axes, legend and notices, and the format of numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.figures.palette import ALARM, PAPER, SCORES, Theme, translucent
from analysis.statistics import Auroc

NOTICE = "Research use only. Not a medical device."
RANDOM_WEIGHTS = "random weights, not for evaluation"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif'
PLOT_PX = 370  # height of the plot itself
AXIS_PX = 52  # ticks and title of the horizontal axis
LINE_PX = 19  # an entry of the legend
TITLE_LINE_PX = 16  # a line of the legend's title
FOOT_PX = 24  # the notice
NOTE_CHARACTERS = 46  # in a line above the notice, so that it fits the narrowest figure of a page, 350 pixels


def format_auroc(auroc: Auroc) -> str:
    """0.774 (0.755–0.793); "0.774 (no interval)" or "not defined" where the sample does not allow more."""
    if auroc.auroc is None:
        return "not defined"
    return with_interval(auroc.auroc, auroc.low, auroc.high)


def as_json(figure: go.Figure) -> dict[str, Any]:
    """{"data": […], "layout": {…}} with plain lists, numbers and text, for `json.dumps` and `Plotly.react`."""
    plain: dict[str, Any] = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    return {"data": plain["data"], "layout": plain["layout"]}


def with_note(drawn: dict[str, Any], note: str) -> dict[str, Any]:
    """A copy of a figure from `as_json` with `note` in extra lines above the notice, for text that is only known when
    the figure is shown; the cached figure is not changed. Returns the figure itself for a blank note."""
    if not note:
        return drawn
    lines = textwrap.wrap(note, NOTE_CHARACTERS)
    more = TITLE_LINE_PX * len(lines)
    layout = drawn["layout"]
    height = layout["height"] + more
    annotations = [
        old | {"text": "<br>".join([*lines, NOTICE]), "yshift": old["yshift"] - more} if old["text"] == NOTICE else old
        for old in layout["annotations"]
    ]
    legend = layout["legend"] | {"y": (layout["legend"]["y"] * layout["height"] + more) / height}
    margin = layout["margin"] | {"b": layout["margin"]["b"] + more}
    return drawn | {
        "layout": layout | {"annotations": annotations, "legend": legend, "margin": margin, "height": height}
    }


def new_figure(*, theme: Theme, random_weights: bool, title: str) -> go.Figure:
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
        _warn_of_random_weights(figure, yshift=top - 6)
    return figure


def finish(
    figure: go.Figure, legend_title: str, *, theme: Theme, plot_px: int = PLOT_PX, axis_px: int = AXIS_PX
) -> go.Figure:
    """Set height, bottom margin, legend and notice; call it last, since they depend on the length of the legend."""
    entries = sum(trace.showlegend is not False for trace in figure.data)
    title_lines = 1 + legend_title.count("<br>") if legend_title else 0
    bottom = axis_px + LINE_PX * entries + TITLE_LINE_PX * title_lines + FOOT_PX
    height = figure.layout.margin.t + plot_px + bottom
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


def _warn_of_random_weights(figure: go.Figure, *, yshift: float) -> None:
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


def empty(figure: go.Figure, reason: str, *, theme: Theme) -> go.Figure:
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
    return finish(figure, "", theme=theme)


def add_band(
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
            x=rounded(np.r_[x, x[::-1]]),
            y=rounded(np.r_[high, low[::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=translucent(SCORES[theme]["fused"], 0.22),
            name=name,
            hoverinfo="skip",
        )
    )


def who(auroc: Auroc) -> str:
    text = f"n = {films_of(auroc.positives, 'abnormal')}, {films_of(auroc.negatives, 'normal')}"
    if (auroc.positive_patients, auroc.negative_patients) != (auroc.positives, auroc.negatives):
        text += f"<br>of {auroc.positive_patients:,} and {auroc.negative_patients:,} patients"
    text += left_out(auroc.left_out)
    if auroc.reason:
        return text + "<br>" + "<br>".join(textwrap.wrap(auroc.reason, 55))
    return text + f"<br>AUROC ({percent(auroc.confidence)} interval)"


def left_out(films: int) -> str:
    return f"<br>{films:,} without a score left out" if films else ""


def add_line_across(
    figure: go.Figure, at: float | None, *, is_vertical: bool, name: str, line: dict[str, Any], **more: Any
) -> None:
    """A line through the whole plot, with an entry in the legend, which a shape would not have. It has an axis of its
    own along its length."""
    long = {"range": [0, 1], "visible": False, "fixedrange": True, "domain": [0, 1]}
    ends, place = [0, 1], [at, at]
    if is_vertical:
        figure.update_layout(yaxis9={**long, "overlaying": "y", "anchor": "x"})
        axes: dict[str, Any] = {"x": place, "y": ends, "yaxis": "y9"}
    else:
        figure.update_layout(xaxis9={**long, "overlaying": "x", "anchor": "y"})
        axes = {"x": ends, "y": place, "xaxis": "x9"}
    figure.add_trace(go.Scatter(mode="lines", line=line, name=name, hoverinfo="skip", **axes, **more))


def text_side(value: float, reach: Sequence[float]) -> str:
    """The position of a mark's text that keeps it inside the plot."""
    place = (value - reach[0]) / (reach[1] - reach[0])
    return "top left" if place > 0.6 else "top right" if place < 0.4 else "top center"


def films_of(count: int, word: str) -> str:
    return f"{count:,} {word}"


def percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"


def with_interval(area: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{area:.3f} (no interval)"
    return f"{area:.3f} ({low:.3f}–{high:.3f})"


def rounded(values: NDArray[np.float64]) -> list[float]:
    """Numbers rounded to five significant digits, which keeps the JSON small."""
    return [float(f"{value:.5g}") for value in values.tolist()]
