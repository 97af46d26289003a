"""A semi-supervised head in a report, and its learning curve as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.figures import format_auroc
from analysis.report.csv_tables import Table
from analysis.report.gathering import BesideOneClass
from analysis.report.trivial_tables import signed
from analysis.sections.semi_supervised import ABOUT, NAMES, NOTE, SHORT
from analysis.studies.head_curve import curve_of
from ml_engine.models import HeadModel

if TYPE_CHECKING:
    from analysis.report.paper import Paper

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


def add_semi_supervised(paper: Paper, beside: BesideOneClass) -> None:
    """The areas of the one-class and the semi-supervised scores on a part, with their curves. No reading is shown:
    whoever gets the report may still have to read these films blinded."""
    from analysis.report import drawings
    from analysis.report.paper import MUTED

    result = beside.result
    paper.heading("Semi-supervised score, beside the one-class score")
    paper.paragraph(f"Fitted on films that people confirmed as abnormal, beside the detector, which saw none. {ABOUT}")
    curves = {SHORT[name]: (curve, result.aurocs[name]) for name, curve in beside.curves.items()}
    paper.plots([lambda axes: drawings.compared_roc(axes, curves, note=NOTE)], height=170, below=98)
    rows = [[name, format_auroc(auroc), auroc.method] for name, auroc in result.rows]
    rows.append(["Gain of the combined score", signed(result.gain), "paired DeLong"])
    caption = (
        f"Films of {result.part}, one-class at {result.weight:g}. The other sections of this report are on the "
        "one-class score"
    )
    paper.table(["Score", "AUROC (95 % interval)", "Method of the interval"], rows, caption=caption)
    for name, auroc in result.aurocs.items():
        if auroc.reason:
            paper.paragraph(f"{NAMES[name]}: {auroc.reason}", size=8, colour=MUTED)
