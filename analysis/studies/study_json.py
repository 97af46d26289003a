"""Ablations and sweeps as JSON: the numbers of their pages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from analysis.evaluation.looks import looks_at_test, note_of
from analysis.studies.ablation import ExperimentResult
from analysis.studies.joining import ablation_of, alignments_of, parts_shown, summary_of, sweep_of
from analysis.studies.opening import is_open, split_of
from analysis.studies.sweep import SweepRow
from ml_engine.models import Run
from portal.models import Part


def study_json(run: Run) -> dict[str, Any]:
    """The fields of both kinds; `opened` is whether results on test are included. Raises CannotEvaluate."""
    split = split_of(run)
    opened = is_open(run)
    return {
        "run": run.uuid,
        "split": split.uuid,
        "label_cutoff": split.label_cutoff,
        "random_weights": run.random_weights,
        "opened": opened,
        "looks_at_test": looks_at_test(split),
        "note": note_of(split, Part.TEST) if opened else "",
    }


def ablation_json(run: Run) -> dict[str, Any]:
    """`cells` and `sweep` are null until test is opened, since they are results on test. Raises CannotEvaluate."""
    summary = summary_of(run)
    plain = {
        "figures": summary["figures"],
        "detectors": [
            {name: experiment[name] for name in ("name", "words", "changes", "refused")}
            for experiment in summary["cells"]
        ],
        "alignments": {name: alignment.to_json() for name, alignment in alignments_of(summary).items()},
    }
    if not is_open(run):
        return study_json(run) | plain | {"cells": None, "sweep": None, "left_out": None}
    results = ablation_of(run)
    sweep = results.experiments[0].sweep
    assert sweep is not None  # of the first experiment
    return (
        study_json(run)
        | plain
        | {
            "cells": [_experiment_json(experiment) for experiment in results.experiments],
            "sweep": {name: getattr(sweep, name).tolist() for name in ("weights", "auroc", "low", "high")},
            "left_out": results.left_out,
        }
    )


def _experiment_json(experiment: ExperimentResult) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "words": experiment.words,
        "refused": experiment.refused,
        "weight": experiment.weight,
        "has_one_map": experiment.has_one_map,
        "aurocs": {column: asdict(area) for column, area in experiment.aurocs.items()},
        "differences": {column: asdict(difference) for column, difference in experiment.differences.items()},
        "adjusted_p_values": experiment.adjusted,
    }


def _row_json(row: SweepRow) -> dict[str, Any]:
    return {"cell" if name == "experiment" else name: value for name, value in asdict(row).items()}


def sweep_json(run: Run) -> dict[str, Any]:
    """Results on tune, and on test after it has been opened. Raises CannotEvaluate."""
    results = sweep_of(run, parts=parts_shown(run))
    return study_json(run) | {
        "axes": results.axes,
        "films": {part: asdict(films) for part, films in results.films.items()},
        "rows": [_row_json(row) for row in results.rows],
        "settings": [asdict(setting) for setting in results.settings],
        "best_on_tune": results.best,
    }
