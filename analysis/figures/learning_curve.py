"""What the reads of a semi-supervised head bought: AUROC on tune over the number of reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.palette import MARKS, PAPER, RUNS, SCORES, Theme, translucent
from analysis.figures.paper import empty, films_of, finish, new_figure, with_interval


@dataclass(frozen=True)
class AreaPoint:
    """An AUROC with its 95 % interval, by heads fitted on so many reads."""

    reads: float
    value: float
    low: float
    high: float


def learning_curve_figure(
    combined: Sequence[AreaPoint],
    head: Sequence[AreaPoint],
    one_class: AreaPoint | None,
    *,
    films: tuple[int, int],
    reason: str = "",
    theme: Theme = "light",
    random_weights: bool = False,
) -> go.Figure:
    """The combined score with its interval as a band, the head alone, and the one-class score, which saw no reads.
    `films` are the numbers of normal and abnormal tune films; `reason` says why there is no point."""
    figure = new_figure(theme=theme, random_weights=random_weights, title="")
    reads = [point.reads for point in combined]
    figure.update_xaxes(
        title="Films read (logarithmic)", type="log", tickvals=reads, ticktext=[f"{n:g}" for n in reads]
    )
    figure.update_yaxes(title="AUROC on tune", tickformat=".2f")
    if not combined or one_class is None:
        return empty(figure, reason or "No curve.", theme=theme)
    limits = [limit for point in [*combined, *head, one_class] for limit in (point.low, point.high)]
    figure.update_yaxes(range=[max(-0.01, min(limits) - 0.03), min(1.01, max(limits) + 0.03)])
    colour, dash = RUNS[theme][1]
    figure.add_trace(
        go.Scatter(
            x=[*reads, *reversed(reads)],
            y=[*(point.high for point in combined), *(point.low for point in reversed(combined))],
            mode="lines",
            fill="toself",
            fillcolor=translucent(colour, 0.15),
            line={"width": 0},
            hoverinfo="skip",
            name="95 % interval of combined",
        )
    )
    figure.add_trace(_line(combined, "Combined", colour, dash, width=3))
    figure.add_trace(_line(head, "Head alone", *RUNS[theme][2], width=2))
    ends = [reads[0], reads[-1]] if len(reads) > 1 else [reads[0] * 0.9, reads[0] * 1.1]
    figure.add_trace(
        go.Scatter(
            x=ends,
            y=[one_class.value] * 2,
            mode="lines",
            line={"color": SCORES[theme]["fused"], "width": 2.5},
            name=f"One-class {with_interval(one_class.value, one_class.low, one_class.high)}",
            hoverinfo="skip",
        )
    )
    chance = {"color": PAPER[theme]["muted"], "width": 1, "dash": "2px,3px"}
    figure.add_trace(go.Scatter(x=ends, y=[0.5] * 2, mode="lines", line=chance, name="Chance 0.500", hoverinfo="skip"))
    who = f"n = {films_of(films[1], 'abnormal')}, {films_of(films[0], 'normal')} of tune"
    who += "<br>Head and combined score are semi-supervised"
    who += "<br>AUROC (95 % interval) with the most reads"
    return finish(figure, who, theme=theme)


def _line(points: Sequence[AreaPoint], name: str, colour: str, dash: str, *, width: float) -> go.Scatter:
    last = points[-1]
    return go.Scatter(
        x=[point.reads for point in points],
        y=[point.value for point in points],
        mode="lines+markers",
        line={"color": colour, "width": width, "dash": dash},
        marker={"symbol": MARKS["estimate"], "size": 8},
        text=[with_interval(point.value, point.low, point.high) for point in points],
        name=f"{name} {with_interval(last.value, last.low, last.high)}",
        hovertemplate=f"%{{x:g}} reads: %{{text}}<extra>{name}</extra>",
    )
