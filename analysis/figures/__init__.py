"""Plotly figures of statistics; pure: no Django, no files, no state.

Every figure shows its number of films and "Research use only. Not a medical device.", and with `random_weights` a
prominent warning too, inside the figure so that an exported image keeps them. A mark of a film has the film's id as
`customdata`; a film whose id is None is counted but has no mark. Legends are below the plot and heights are fixed in
pixels, so that a figure looks the same at widths of 400 and of 1,400 pixels.
"""

from analysis.figures.comparison import RunCurve, comparison_figure, scatter_figure
from analysis.figures.drift import drift_figure
from analysis.figures.experiment_figures import AxisLine, ExperimentMark, axis_figure, experiments_figure
from analysis.figures.flow_diagram import FlowBox, FlowDrawing, FlowEnd, FlowStep, flow_figure, place_flow
from analysis.figures.forest import ForestRow, forest_figure
from analysis.figures.free_response import FrocCurve, froc_figure
from analysis.figures.histogram import histogram_figure
from analysis.figures.learning_curve import AreaPoint, learning_curve_figure
from analysis.figures.paper import NOTICE, RANDOM_WEIGHTS, as_json, format_auroc, with_note
from analysis.figures.precision import PrecisionCurve, precision_figure
from analysis.figures.reader_study import ReaderMarks, reader_study_figure
from analysis.figures.recalibration import calibration_figure, decision_figure
from analysis.figures.roc import KindOfScore, roc_figure
from analysis.figures.sweep import sweep_figure

__all__ = [
    "NOTICE",
    "RANDOM_WEIGHTS",
    "AreaPoint",
    "AxisLine",
    "ExperimentMark",
    "FlowBox",
    "FlowDrawing",
    "FlowEnd",
    "FlowStep",
    "ForestRow",
    "FrocCurve",
    "KindOfScore",
    "PrecisionCurve",
    "ReaderMarks",
    "RunCurve",
    "as_json",
    "axis_figure",
    "calibration_figure",
    "comparison_figure",
    "decision_figure",
    "drift_figure",
    "experiments_figure",
    "flow_figure",
    "forest_figure",
    "format_auroc",
    "froc_figure",
    "histogram_figure",
    "learning_curve_figure",
    "place_flow",
    "precision_figure",
    "reader_study_figure",
    "roc_figure",
    "scatter_figure",
    "sweep_figure",
    "with_note",
]
