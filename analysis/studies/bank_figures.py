"""Figures of bank studies and of blind spots: curves with two kinds of spread, and a grid of the canonical image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.figures.palette import DASHES, MARKS, PAPER, RUNS, SCORES, Kind, Theme, translucent
from analysis.figures.paper import empty, films_of, finish, left_out, new_figure, with_interval
from analysis.statistics import Rate
from analysis.studies.bank import BankResults, Point
from analysis.studies.blind import BlindResults, Group, Place

GRID_PX = 340
CIVIDIS = [[0.0, "#00224e"], [0.25, "#3f4b6b"], [0.5, "#7c7b78"], [0.75, "#bcae6c"], [1.0, "#fee838"]]
KINDS: tuple[Kind, ...] = ("global", "region", "fused")

# how many normals, how clean


def auroc_curve(results: BankResults, *, by: str, theme: Theme = "light", random_weights: bool = False) -> go.Figure:
    """AUROC against the number of normal films in the bank (``by`` "size") or the share of abnormal films in it
    ("contamination"). The band is the 95 % interval of the fused AUROC over test films; the arms are its spread over
    draws of the bank's films. The two are not added."""
    points = results.by_size if by == "size" else results.by_contamination
    figure = _start(by, "AUROC", theme, random_weights)
    if any(point.mean is None for point in points["fused"]):
        return empty(figure, points["fused"][0].reason, theme=theme)
    limits = [limit for point in points["fused"] for limit in (point.low, point.high, point.lowest, point.highest)]
    limits += [point.mean for kind in KINDS for point in points[kind]]
    known = [limit for limit in limits if limit is not None]
    figure.update_yaxes(range=[max(-0.01, min(known) - 0.03), min(1.01, max(known) + 0.03)])
    _band(figure, points["fused"], by, SCORES[theme]["fused"])
    for kind in KINDS:
        _line(
            figure,
            points[kind],
            by,
            name=f"{kind.capitalize()}: {_ends(points[kind])}",
            colour=SCORES[theme][kind],
            dash=DASHES[kind],
            arms=kind == "fused",
        )
    return finish(figure, _who(results), theme=theme)


def rate_curve(results: BankResults, *, by: str, theme: Theme = "light", random_weights: bool = False) -> go.Figure:
    """The false-alarm rate on normal test films at each bank's own threshold, and the requested rate; band and arms as
    in `auroc_curve`."""
    points = (results.by_size if by == "size" else results.by_contamination)["false alarms"]
    figure = _start(by, "False-alarm rate", theme, random_weights)
    if any(point.mean is None for point in points):
        return empty(figure, next(point.reason for point in points if point.mean is None), theme=theme)
    tops = [value for point in points for value in (point.high, point.highest) if value is not None]
    figure.update_yaxes(range=[-0.01, min(1.01, max(0.2, *tops) + 0.03)])
    colour = SCORES[theme]["fused"]
    _band(figure, points, by, colour)
    _line(figure, points, by, name=f"Fused: {_ends(points)}", colour=colour, dash="solid", arms=True)
    x = _places(points, by)
    figure.add_trace(
        go.Scatter(
            x=[x[0], x[-1]] if len(x) > 1 else [x[0] * 0.9, x[0] * 1.1],
            y=[results.false_alarm_rate] * 2,
            mode="lines",
            line={"color": PAPER[theme]["muted"], "width": 1.5, "dash": "dash"},
            name=f"Requested: {results.false_alarm_rate:g}, fixed on {results.calibration_films} calibration films",
            hoverinfo="skip",
        )
    )
    return finish(figure, _who(results), theme=theme)


def _start(by: str, measure: str, theme: Theme, random_weights: bool) -> go.Figure:
    figure = new_figure(theme=theme, random_weights=random_weights, title="")
    title = "Normal films in the bank" if by == "size" else "Abnormal films in the bank (%)"
    figure.update_xaxes(title=title, rangemode="tozero")
    figure.update_yaxes(title=measure, tickformat=".2f")
    return figure


def _places(points: Sequence[Point], by: str) -> list[float]:
    return [point.films if by == "size" else round(100 * point.contamination, 3) for point in points]


def _band(figure: go.Figure, points: Sequence[Point], by: str, colour: str) -> None:
    known = [point for point in points if point.low is not None and point.high is not None]
    if len(known) < 2:
        return
    x = _places(known, by)
    figure.add_trace(
        go.Scatter(
            x=x + x[::-1],
            y=[point.high for point in known] + [point.low for point in known[::-1]],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=translucent(colour, 0.22),
            name="95 % interval over test films (mean of the draws)",
            hoverinfo="skip",
        )
    )


def _line(
    figure: go.Figure, points: Sequence[Point], by: str, *, name: str, colour: str, dash: str, arms: bool
) -> None:
    spread: dict[str, Any] = {}
    if arms and any(point.repeats > 1 for point in points):
        spread = {
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [(point.highest or 0) - (point.mean or 0) for point in points],
                "arrayminus": [(point.mean or 0) - (point.lowest or 0) for point in points],
                "color": colour,
                "thickness": 1.5,
                "width": 5,
            }
        }
    figure.add_trace(
        go.Scatter(
            x=_places(points, by),
            y=[point.mean for point in points],
            text=[_point_words(point) for point in points],
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": dash},
            marker={"symbol": MARKS["estimate"], "color": colour, "size": 8},
            name=name,
            hovertemplate="%{x:.4g}: %{text}<extra></extra>",
            **spread,
        )
    )


def _point_words(point: Point) -> str:
    text = with_interval(point.mean or 0.0, point.low, point.high)
    if point.repeats > 1 and point.lowest is not None and point.highest is not None:
        text += f"<br>{point.repeats} draws: {point.lowest:.3f} to {point.highest:.3f}"
    return text


def _ends(points: Sequence[Point]) -> str:
    first, last = points[0], points[-1]
    ends = [with_interval(point.mean or 0.0, point.low, point.high) for point in (first, last)]
    return ends[0] if len(points) == 1 else f"{ends[0]} to {ends[1]}"


def _who(results: BankResults) -> str:
    repeats = max(point.repeats for point in (*results.by_size["fused"], *results.by_contamination["fused"]))
    text = f"n = {films_of(results.abnormal, 'abnormal')}, {films_of(results.normal, 'normal')} of test"
    text += f", {results.patients:,} patients" + left_out(sum(results.left_out.values()))
    if repeats == 1:
        return f"{text}<br>each bank drawn once"
    return f"{text}<br>arms: lowest to highest of {repeats} draws of the bank's films; the whole is one"


# blind spots


def sensitivity_curves(
    results: BlindResults, kind: str, *, theme: Theme = "light", random_weights: bool = False
) -> go.Figure:
    """The share of pasted lesions of a kind that the fused map detects, against their size, a line by contrast."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=kind.capitalize())
    groups = [group for group in results.groups if group.kind == kind]
    figure.update_xaxes(title=f"{SIZES[kind]} (mm)", rangemode="tozero")
    figure.update_yaxes(title="Share found", range=[-0.03, 1.03], tickformat=".1f")
    for number, contrast in enumerate(sorted({group.contrast for group in groups})):
        some = [group for group in groups if group.contrast == contrast]
        colour, dash = RUNS[theme][number % len(RUNS[theme])]
        _sensitivity(figure, some, f"Contrast {contrast:g}: {_range(some)}", colour, dash)
    alarms = results.false_alarms["fused"]
    if alarms.value is not None and groups:
        sizes = [group.size_mm for group in groups]
        figure.add_trace(
            go.Scatter(
                x=[min(sizes), max(sizes)],
                y=[alarms.value] * 2,
                mode="lines",
                line={"color": PAPER[theme]["muted"], "width": 1.5, "dash": "dash"},
                name=f"Untouched films marked: {_rate(alarms)}",
                hoverinfo="skip",
            )
        )
    lesions = sum(group.maps[-1].found.total for group in groups)
    text = f"n = {lesions:,} synthetic lesions in {results.films:,} normal films of {results.patients:,} patients"
    return finish(figure, f"{text}<br>95 % intervals by patient; contrast as share of the gray scale", theme=theme)


SIZES = {"nodule": "Diameter", "effusion": "Height at the wall", "pneumothorax": "Gap at the apex"}


def _sensitivity(figure: go.Figure, groups: Sequence[Group], name: str, colour: str, dash: str) -> None:
    rates = [group.maps[-1].found for group in groups]
    figure.add_trace(
        go.Scatter(
            x=[group.size_mm for group in groups],
            y=[rate.value for rate in rates],
            text=[f"{_rate(rate)}<br>{rate.successes} of {rate.total} lesions" for rate in rates],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": _differences([rate.high for rate in rates], [rate.value for rate in rates]),
                "arrayminus": _differences([rate.value for rate in rates], [rate.low for rate in rates]),
                "color": colour,
                "thickness": 1.2,
                "width": 4,
            },
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": MARKS["estimate"], "color": colour, "size": 8},
            name=name,
            hovertemplate="%{x:g} mm: %{text}<extra></extra>",
        )
    )


def _differences(more: Sequence[float | None], less: Sequence[float | None]) -> list[float]:
    """more − less, 0 where either is missing."""
    return [0.0 if a is None or b is None else max(0.0, round(a - b, 9)) for a, b in zip(more, less, strict=True)]


def _range(groups: Sequence[Group]) -> str:
    first, last = groups[0].maps[-1].found, groups[-1].maps[-1].found
    shares = ["none" if rate.value is None else f"{rate.value:.3f}" for rate in (first, last)]
    return shares[0] if len(groups) == 1 else f"{shares[0]} to {shares[1]}"


def _rate(rate: Rate) -> str:
    return "none" if rate.value is None else with_interval(rate.value, rate.low, rate.high)


def place_grid(
    places: Sequence[Place], grid: int, *, title: str, theme: Theme = "light", random_weights: bool = False
) -> go.Figure:
    """The share of lesions detected in each cell of the region grid, with their number; no colour in a cell without a
    lesion."""
    figure = new_figure(theme=theme, random_weights=random_weights, title=title)
    if not any(place.lesions for place in places):
        return empty(figure, "No lesion with a contrast above 0 was pasted.", theme=theme)
    shares: list[list[float | None]] = [[None] * grid for _ in range(grid)]
    words = [[""] * grid for _ in range(grid)]
    for place in places:
        shares[place.row][place.column] = place.found.value if place.found else None
        words[place.row][place.column] = _place(place)
    figure.add_trace(
        go.Heatmap(
            z=shares,
            text=words,
            x=list(range(1, grid + 1)),
            y=list(range(1, grid + 1)),
            zmin=0,
            zmax=1,
            colorscale=CIVIDIS,
            xgap=2,
            ygap=2,
            hoverongaps=False,
            colorbar={
                "title": {"text": "Share found", "side": "right"},
                "thickness": 12,
                "len": 0.9,
                "outlinewidth": 0,
            },
            hovertemplate="row %{y}, column %{x}<br>%{text}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_trace(  # without an entry the legend, and n with it, would not be drawn
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"symbol": "square-open", "size": 9, "color": PAPER[theme]["muted"]},
            name="No colour: no lesion lies there",
        )
    )
    figure.update_xaxes(title="Column of the canonical image", dtick=1, showgrid=False)
    figure.update_yaxes(title="Row of the canonical image", dtick=1, showgrid=False, autorange="reversed")
    figure.update_layout(margin_r=88)
    if grid <= 6:
        _write_cells(figure, places, theme)
    lesions = sum(place.lesions for place in places)
    text = f"n = {lesions:,} lesions with a contrast; fused map<br>95 % intervals by patient: point at a cell"
    return finish(figure, text, theme=theme, plot_px=GRID_PX)


def _place(place: Place) -> str:
    if place.found is None:
        return "no lesion"
    text = f"{_rate(place.found)}<br>{place.found.successes} of {place.lesions} lesions"
    return text + (f"<br>{place.masked_off} at a masked-off place" if place.masked_off else "")


def _write_cells(figure: go.Figure, places: Sequence[Place], theme: Theme) -> None:
    for place in places:
        value = place.found.value if place.found else None
        text = f"n = {place.lesions}" if value is None else f"{value:.2f}<br>n = {place.lesions}"
        colour = PAPER[theme]["muted"] if value is None else "#000000" if value > 0.55 else "#ffffff"
        figure.add_annotation(
            x=place.column + 1, y=place.row + 1, text=text, showarrow=False, font={"size": 11, "color": colour}
        )
