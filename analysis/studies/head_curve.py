"""The learning curve of a semi-supervised head, as its run measured it on tune: figure, table, expected gain."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from analysis.figures import AreaPoint, learning_curve_figure
from analysis.figures.palette import Theme
from analysis.report.csv_tables import Table
from ml_engine.models import HeadModel

_AREAS = ("head", "combined", "gain")
COLUMNS = (
    "reads [films]", "abnormal [films]", "draws", "spread_of_gain",
    *(f"{name}{limit}" for name in ("semi_supervised_head_auroc", "semi_supervised_combined_auroc", "gain")
      for limit in ("", "_low", "_high")),
    "one_class_auroc", "one_class_auroc_low", "one_class_auroc_high",
)  # fmt: skip


def curve_of(head: HeadModel) -> dict[str, Any]:
    """`learning_curve` of fit_head.json."""
    curve: dict[str, Any] = head.summary["learning_curve"]
    return curve


def draw_curve(head: HeadModel, *, theme: Theme) -> go.Figure:
    curve = curve_of(head)
    points = {
        name: [AreaPoint(reads=point["reads"], **point[name]) for point in curve["points"]]
        for name in ("combined", "head")
    }
    one_class = AreaPoint(reads=0, **curve["one_class"]) if curve["one_class"] else None
    return learning_curve_figure(
        points["combined"],
        points["head"],
        one_class,
        films=(curve["films"] - curve["abnormal"], curve["abnormal"]),
        reason=curve["note"],
        theme=theme,
        random_weights=head.random_weights,
    )


def table_of_curve(head: HeadModel) -> Table:
    """A row for each number of reads, in full precision."""
    curve = curve_of(head)
    one_class = [curve["one_class"][limit] for limit in ("value", "low", "high")] if curve["one_class"] else [None] * 3
    rows = [
        [
            *(point[name] for name in ("reads", "abnormal", "repeats", "spread")),
            *(point[name][limit] for name in _AREAS for limit in ("value", "low", "high")),
            *one_class,
        ]
        for point in curve["points"]
    ]
    return Table(COLUMNS, rows, curve["note"])
