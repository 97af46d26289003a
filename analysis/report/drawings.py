"""Statistics -> plots of a report: the same numbers as on the page, drawn for print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Ellipse, Rectangle

from analysis import statistics
from analysis.evaluation.operating_points import OperatingResult
from analysis.figures import FlowDrawing, ForestRow, FrocCurve, format_auroc
from analysis.figures.flow_diagram import LINE
from analysis.figures.free_response import LEAST, MOST, drawn_points
from analysis.figures.palette import LABELS, MARKS, PAPER, RUNS, SCORES, Kind
from analysis.figures.paper import films_of, percent, with_interval
from analysis.report.example_films import ExampleFilm
from analysis.report.paper import font, glyphs

_SCORES, _LABELS, _INK, _MUTED = SCORES["light"], LABELS["light"], PAPER["light"]["ink"], PAPER["light"]["muted"]
_DASHES = {"global": ":", "region": "--", "fused": "-"}
_LINES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_MARKS = {"pentagon": "p", "star": "*", "cross-open": "P"}  # of palette.MARKS
_ESTIMATE, _CHOSEN, _SETTING = (_MARKS[MARKS[name]] for name in ("estimate", "chosen", "setting"))
HEAT, BOX = "#fdd835", "#56b4e9"  # lines on a film, as in static/css/hilum.css
_CHANCE: dict[str, Any] = {"color": _MUTED, "linewidth": 0.8, "linestyle": (0, (2, 3)), "label": "Chance 0.500"}


def _has_curves(axes: Any, curves: Mapping[Any, tuple[statistics.RocCurve, statistics.Auroc]]) -> bool:
    """Set the axes of ROC curves. Where a curve could not be made, the reason is drawn instead, and False returned."""
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_anchor("NW")
    reason = next((curve.reason for curve, _ in curves.values() if curve.reason), "")
    if reason:
        _empty(axes, reason)
    return not reason


def roc(
    axes: Any,
    curves: Mapping[Kind, tuple[statistics.RocCurve, statistics.Auroc]],
    band: statistics.RocBand,
    *,
    point: OperatingResult | None = None,
) -> None:
    """The curves with the band of the fused score, and the operating point on them."""
    if not _has_curves(axes, curves):
        return
    if len(band.low):
        label = f"{percent(band.confidence)} band of fused, pointwise"
        shade = {"color": _SCORES["fused"], "alpha": 0.22, "linewidth": 0, "label": label}
        axes.fill_between(band.false_positive_rate, band.low, band.high, **shade)
    for kind, (curve, area) in curves.items():
        style: dict[str, Any] = {"color": _SCORES[kind], "linestyle": _DASHES[kind]}
        label = f"{kind.capitalize()} {format_auroc(area)}"
        width = 1.8 if kind == "fused" else 1.2
        axes.plot(curve.false_positive_rate, curve.sensitivity, linewidth=width, label=label, **style)
    axes.plot([0, 1], [0, 1], **_CHANCE)
    if point and point.sensitivity and point.specificity:
        x, y = 1 - float(point.specificity.value or 0), float(point.sensitivity.value or 0)
        label = f"Operating point: {y:.3f} at 1 − specificity {x:.3f}"
        _mark(axes, x, y, _SETTING, colour=_INK, label=label, is_open=True, size=8)
    _legend(axes, f"{_who(curves['fused'][1])}; AUROC with 95 % interval")


def _mark(
    axes: Any, x: float, y: float, marker: str, *, colour: str, label: str, is_open: bool = False, size: float = 6
) -> None:
    face = "none" if is_open else colour
    style: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": size, "linestyle": "none"}
    axes.plot([x], [y], marker=marker, label=label, clip_on=False, **style)


def compared_roc(
    axes: Any, curves: Mapping[str, tuple[statistics.RocCurve, statistics.Auroc]], *, note: str = ""
) -> None:
    """The curves of at most four scores of the same films, by name; `note` is a line above the legend."""
    if not _has_curves(axes, curves):
        return
    for (name, (curve, area)), (colour, dash) in zip(curves.items(), RUNS["light"], strict=False):
        style: dict[str, Any] = {"color": colour, "linestyle": _LINES[dash], "linewidth": 1.5}
        axes.plot(curve.false_positive_rate, curve.sensitivity, label=f"{name} {format_auroc(area)}", **style)
    axes.plot([0, 1], [0, 1], **_CHANCE)
    _legend(axes, f"{_who(area)}; AUROC with 95 % interval" + (f"\n{note}" if note else ""))


def sweep(axes: Any, curve: statistics.FusionSweep, *, run_weight: float, chosen: float | None) -> None:
    axes.set(xlabel="Fusion weight w of region", ylabel="AUROC", xlim=(-0.02, 1.02))
    if not len(curve.auroc):
        _empty(axes, curve.reason)
        return
    if len(curve.low):
        shade = {
            "color": _SCORES["fused"],
            "alpha": 0.22,
            "linewidth": 0,
            "label": f"{percent(curve.confidence)} interval",
        }
        axes.fill_between(curve.weights, curve.low, curve.high, **shade)
    axes.plot(curve.weights, curve.auroc, color=_SCORES["fused"], linewidth=1.6, label="Fused")
    marks: list[tuple[str, float | None, str, str]] = [
        ("Global", 0.0, _ESTIMATE, _SCORES["global"]),
        ("Region", 1.0, _ESTIMATE, _SCORES["region"]),
        ("On tune", chosen, _CHOSEN, _INK),
        ("Run", run_weight, _SETTING, _INK),
    ]
    for name, weight, marker, colour in marks:
        if weight is not None:
            k = int(np.argmin(np.abs(curve.weights - weight)))
            label = f"{name}, w {weight:g}: {_at(curve, k)}"
            is_open = marker == _SETTING
            x, y = float(curve.weights[k]), float(curve.auroc[k])
            _mark(axes, x, y, marker, colour=colour, label=label, is_open=is_open, size=9 if is_open else 7)
    low, high = axes.get_ylim()
    missing = max(0.0, 0.2 - (high - low)) / 2  # so that a difference of 0.01 does not look large
    axes.set_ylim(max(-0.01, low - missing), min(1.01, high + missing))
    _legend(axes, _who(curve))


def histogram(axes: Any, bins: statistics.Histogram, *, threshold: float | None) -> None:
    axes.set(xlabel="Fused score", ylabel="Films")
    axes.yaxis.get_major_locator().set_params(integer=True)
    if not bins.counts:
        _empty(axes, "No film has a score yet.")
        return
    for name in sorted(bins.counts, key=["normal", "abnormal"].index):
        counts, colour = bins.counts[name], _LABELS[name]
        label = f"{name.capitalize()}, n = {int(counts.sum()):,}"
        hatch = "" if name == "normal" else "////"
        style: dict[str, Any] = {"facecolor": colour, "edgecolor": colour, "linewidth": 0.6, "hatch": hatch}
        axes.bar(bins.edges[:-1], counts, np.diff(bins.edges), align="edge", alpha=0.5, label=label, **style)
    if threshold is not None:
        line: dict[str, Any] = {"color": _INK, "linestyle": "--", "linewidth": 1}
        axes.axvline(threshold, label=f"Threshold {threshold:.4g} of the operating point", **line)
    _legend(axes, f"n = {sum(int(counts.sum()) for counts in bins.counts.values()):,} films")


def forest(axes: Any, rows: Sequence[tuple[ForestRow, statistics.Auroc]], overall: statistics.Auroc) -> None:
    """A line for each row, with its estimate printed at the right of the plot."""
    axes.set(xlabel="AUROC", xlim=(-0.01, 1.01), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [f"{glyphs(row.name)[:34]}, n = {row.films:,}" for row, _ in rows])
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    estimate = f"AUROC ({percent(overall.confidence)} interval)"
    for place, (_, area) in enumerate(rows):
        if area.low is not None and area.high is not None:
            axes.plot([area.low, area.high], [place, place], color=_INK, linewidth=1)
        label = estimate if place == 0 else "_"
        x = float(area.auroc or 0)
        axes.plot(
            [x], [place], _ESTIMATE, color=_SCORES["fused"], markeredgecolor=_INK, markersize=6, linestyle="none",
            label=label, clip_on=False,
        )  # fmt: skip
        axes.text(1.04, place, format_auroc(area), va="center", fontsize=7, clip_on=False)
    axes.axvline(0.5, **_CHANCE)
    if overall.auroc is not None:
        label = f"All films {format_auroc(overall)}"
        axes.axvline(overall.auroc, color=_SCORES["fused"], linestyle="--", linewidth=1.2, label=label)
    _legend(axes, "")


def precision(axes: Any, curves: Mapping[Kind, tuple[statistics.PrecisionRecall, statistics.Auprc]]) -> None:
    """Precision over sensitivity, with the prevalence as the line of uninformative scores."""
    axes.set(xlabel="Sensitivity (recall)", ylabel="Precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_anchor("NW")
    reason = next((curve.reason for curve, _ in curves.values() if curve.reason), "")
    if reason:
        _empty(axes, reason)
        return
    for kind, (curve, area) in curves.items():
        words = "not defined" if area.auprc is None else with_interval(area.auprc, area.low, area.high)
        style: dict[str, Any] = {"color": _SCORES[kind], "linestyle": _DASHES[kind]}
        width = 1.8 if kind == "fused" else 1.2
        x, y = np.r_[0.0, curve.recall], np.r_[curve.precision[:1], curve.precision]
        # between two points the precision is that of the second
        axes.plot(x, y, drawstyle="steps-pre", linewidth=width, label=f"{kind.capitalize()} {words}", **style)
    first = curves["fused"][1]
    share = first.prevalence or 0.0
    axes.plot([0, 1], [share, share], **_CHANCE | {"label": f"Prevalence {share:.3f}: uninformative scores"})
    title = f"n = {films_of(first.positives, 'abnormal')}, {films_of(first.negatives, 'normal')}"
    _legend(axes, f"{title}\naverage precision with {percent(first.confidence)} interval")


def froc(axes: Any, curves: Sequence[FrocCurve]) -> None:
    """The share of boxes found over false marks per film, from 1/8 to 8."""
    axes.set(xlabel="False marks per film", ylabel="Boxes found", ylim=(-0.01, 1.01))
    known = [curve for curve in curves if len(curve.sensitivity)]
    if not known:
        _empty(axes, curves[0].reason if curves else "No boxes.")
        return
    axes.set(xscale="log", xlim=(LEAST * 0.95, MOST * 1.05))
    ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    axes.set_xticks(ticks, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.minorticks_off()
    for curve in known:
        mean = curve.mean_sensitivity
        words = "not defined" if mean is None else with_interval(mean, curve.mean_low, curve.mean_high)
        style: dict[str, Any] = {"color": _SCORES[curve.kind], "linestyle": _DASHES[curve.kind]}
        width = 1.8 if curve.kind == "fused" else 1.2
        x, y = drawn_points(curve)
        axes.plot(x, y, drawstyle="steps-post", linewidth=width, label=f"{curve.kind.capitalize()} {words}", **style)
        if curve.kind == "fused" and len(curve.low):
            at, low, high = (np.asarray(values, dtype=float) for values in (curve.at_rates, curve.low, curve.high))
            axes.errorbar(
                curve.rates, at, yerr=[at - low, high - at], fmt=_ESTIMATE, color=_SCORES["fused"], markersize=4.5,
                elinewidth=0.9, capsize=2, label=f"{percent(curve.confidence)} interval of fused",
            )  # fmt: skip
    first = known[0]
    title = f"n = {first.lesions:,} boxes; false marks of {first.films:,} films"
    _legend(axes, f"{title}; mean over the ticks with {percent(first.confidence)} interval")


def film(axes: Any, example: ExampleFilm) -> None:
    """The film with its boxes, the outline of its heatmap and a ring around its highest patch, as in the galleries."""
    shown = example.film
    axes.imshow(example.picture, cmap="gray", vmin=0, vmax=255, extent=(0, shown.columns, shown.rows, 0))
    axes.set(xlim=(0, shown.columns), ylim=(shown.rows, 0), aspect=shown.pixel_aspect)
    axes.set_axis_off()
    axes.set_anchor("N")
    under: dict[str, Any] = {"edgecolor": "black", "linewidth": 1.6, "alpha": 0.6, "facecolor": "none"}
    over: dict[str, Any] = {"edgecolor": HEAT, "linewidth": 0.7, "facecolor": "none"}
    for x, y, width, height, _ in shown.boxes:
        axes.add_patch(Rectangle((x, y), width, height, **under))
        axes.add_patch(Rectangle((x, y), width, height, **over | {"edgecolor": BOX, "linestyle": (0, (3, 2))}))
    for colour, width in (("black", 1.6), (HEAT, 0.7)):
        axes.add_collection(LineCollection(list(shown.segments()), colors=colour, linewidths=width))
    if shown.hottest is not None:
        across, down = shown.radii
        for style in (under, over):
            axes.add_patch(Ellipse(shown.hottest, 2 * across, 2 * down, **style))


def flow(axes: Any, drawing: FlowDrawing, *, size: float) -> None:
    """The diagram, with text of `size` points; its axes are `drawing.height` times as tall as `flow_scale(size)`."""
    axes.set(xlim=(0, 1), ylim=(drawing.height, 0))
    axes.set_axis_off()
    for box in drawing.boxes:
        edge: dict[str, Any] = {"edgecolor": _LABELS.get(box.label, _MUTED), "linewidth": 1.4 if box.label else 0.7}
        axes.add_patch(Rectangle((box.left, box.top), box.width, box.height, facecolor="none", clip_on=False, **edge))
        for number, line in enumerate(box.lines):
            y = box.top + box.height / 2 + (number - (len(box.lines) - 1) / 2) * LINE
            face = font(number < box.titles)
            axes.text(box.middle, y, glyphs(line), ha="center", va="center", fontproperties=face, fontsize=size)
    for connector in drawing.connectors:
        style = {
            "arrowstyle": "-|>" if connector.has_head else "-",
            "color": _MUTED,
            "linewidth": 0.7,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        end, start = (connector.x1, connector.y1), (connector.x0, connector.y0)
        axes.annotate("", xy=end, xytext=start, arrowprops=style, annotation_clip=False)


def flow_scale(size: float) -> float:
    """Points for each pixel of the page's diagram, at a text of `size` points."""
    return size * 1.35 / LINE


def _who(counts: statistics.Auroc | statistics.FusionSweep) -> str:
    return f"n = {films_of(counts.positives, 'abnormal')}, {films_of(counts.negatives, 'normal')}"


def _legend(axes: Any, title: str, *, drop: float = 35) -> None:
    """Place the legend `drop` points below the axis."""
    height = axes.get_position().height * axes.figure.get_figheight() * 72
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(0, -drop / height), borderaxespad=0, borderpad=0, handlelength=2.2,
        labelspacing=0.3, title=title, alignment="left",
    )  # fmt: skip
    legend.get_title().set(fontsize=7, color=_MUTED)


def _empty(axes: Any, reason: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", wrap=True, fontsize=7.5)


def _at(curve: statistics.FusionSweep, k: int) -> str:
    low, high = (float(limits[k]) if len(limits) else None for limits in (curve.low, curve.high))
    return with_interval(float(curve.auroc[k]), low, high)
