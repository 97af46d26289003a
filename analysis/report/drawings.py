"""Statistics -> plots of a report: the same numbers as on the page, drawn for print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from analysis import statistics
from analysis.figures import FlowDrawing, ForestRow, format_auroc
from analysis.figures.flow_diagram import LINE
from analysis.figures.palette import LABELS, PAPER, RUNS, SCORES, Kind
from analysis.figures.paper import films_of, percent
from analysis.report.paper import font, glyphs

_SCORES, _LABELS, _INK, _MUTED = SCORES["light"], LABELS["light"], PAPER["light"]["ink"], PAPER["light"]["muted"]
_DASHES = {"global": ":", "region": "--", "fused": "-"}
_LINES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
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
) -> None:
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
    _legend(axes, f"{_who(curves['fused'][1])}; AUROC with 95 % interval")


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
        ("Global", 0.0, "o", _SCORES["global"]),
        ("Region", 1.0, "o", _SCORES["region"]),
        ("On tune", chosen, "*", _INK),
        ("Run", run_weight, "D", _INK),
    ]
    for name, weight, marker, colour in marks:
        if weight is not None:
            k = int(np.argmin(np.abs(curve.weights - weight)))
            face = "none" if name == "Run" else colour
            label = f"{name}, w {weight:g}: {_at(curve, k)}"
            size = 8 if name == "Run" else 6
            axes.plot(
                [curve.weights[k]], [curve.auroc[k]], marker, color=colour, markerfacecolor=face, markersize=size,
                label=label, clip_on=False,
            )  # fmt: skip
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


def forest(axes: Any, rows: Sequence[ForestRow], overall: statistics.Auroc) -> None:
    axes.set(xlabel="AUROC", xlim=(-0.01, 1.01), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [f"{glyphs(row.name)[:34]}, n = {row.films:,}" for row in rows])
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    for place, row in enumerate(rows):
        area = row.auroc
        if area is None or area.auroc is None:
            continue
        if area.low is not None and area.high is not None:
            axes.plot([area.low, area.high], [place, place], color=_INK, linewidth=1)
        axes.plot([area.auroc], [place], "s", color=_SCORES["fused"], markeredgecolor=_INK, markersize=4.5)
    axes.axvline(0.5, **_CHANCE)
    if overall.auroc is not None:
        label = f"All films {format_auroc(overall)}"
        axes.axvline(overall.auroc, color=_SCORES["fused"], linestyle="--", linewidth=1.2, label=label)
    _legend(axes, f"AUROC with {percent(overall.confidence)} interval")


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
    for line in drawing.connectors:
        style = {
            "arrowstyle": "-|>" if line.has_head else "-",
            "color": _MUTED,
            "linewidth": 0.7,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.annotate("", xy=(line.x1, line.y1), xytext=(line.x0, line.y0), arrowprops=style, annotation_clip=False)


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
    if not len(curve.low):
        return f"{curve.auroc[k]:.3f} (no interval)"
    return f"{curve.auroc[k]:.3f} ({curve.low[k]:.3f}–{curve.high[k]:.3f})"
