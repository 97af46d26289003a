"""The learning curve of a semi-supervised head, as its run measured it on tune: its figure."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from analysis.figures import AreaPoint, learning_curve_figure
from analysis.figures.palette import Theme
from ml_engine.models import HeadModel


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
