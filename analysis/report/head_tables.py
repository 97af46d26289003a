"""The learning curve of a semi-supervised head as a table."""

from __future__ import annotations

from analysis.report.csv_tables import Table
from analysis.studies.head_curve import curve_of
from ml_engine.models import HeadModel

_AREAS = ("head", "combined", "gain")
COLUMNS = (
    "reads [films]", "abnormal [films]", "draws", "spread_of_gain",
    *(f"{name}{limit}" for name in ("semi_supervised_head_auroc", "semi_supervised_combined_auroc", "gain")
      for limit in ("", "_low", "_high")),
    "one_class_auroc", "one_class_auroc_low", "one_class_auroc_high",
)  # fmt: skip


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
