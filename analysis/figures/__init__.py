"""Statistics to Plotly figures; pure: no Django, no files, nothing remembered.

Every figure says how many films it stands on, carries "Research use only. Not a medical device.", and with
`random_weights` the loud line as well, inside the figure so that an exported image keeps it. A mark that stands
for a film has the film's id as `customdata`; a film whose id is None counts, but has no mark. Legends stand below
the plot and heights are fixed in pixels, so that a figure reads the same 400 and 1,400 pixels wide.
"""

from analysis.figures.comparison import RunCurve, comparison_figure, scatter_figure
from analysis.figures.experiment_figures import AxisLine, CellMark, axis_figure, cells_figure
from analysis.figures.forest import ForestRow, forest_figure
from analysis.figures.free_response import FrocCurve, froc_figure
from analysis.figures.histogram import histogram_figure
from analysis.figures.paper import NOTICE, RANDOM_WEIGHTS, as_json, format_auroc, with_note
from analysis.figures.precision import PrecisionCurve, precision_figure
from analysis.figures.roc import KindOfScore, roc_figure
from analysis.figures.sweep import sweep_figure

__all__ = [
    "NOTICE",
    "RANDOM_WEIGHTS",
    "AxisLine",
    "CellMark",
    "ForestRow",
    "FrocCurve",
    "KindOfScore",
    "PrecisionCurve",
    "RunCurve",
    "as_json",
    "axis_figure",
    "cells_figure",
    "comparison_figure",
    "forest_figure",
    "format_auroc",
    "froc_figure",
    "histogram_figure",
    "precision_figure",
    "roc_figure",
    "scatter_figure",
    "sweep_figure",
    "with_note",
]
