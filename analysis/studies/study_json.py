"""Ablations and sweeps as JSON: the numbers of their pages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from analysis.evaluation.looks import looks_at_test, note_of
from analysis.studies.ablation import CellResult
from analysis.studies.joining import ablation_of, alignments_of, parts_shown, summary_of, sweep_of
from analysis.studies.opening import is_open, split_of
from ml_engine.models import Run
from portal.models import Part


def study_json(run: Run) -> dict[str, Any]:
    """What both have; `opened` says whether the figures of test are among the rest. Raises CannotEvaluate."""
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
    """`cells` and `sweep` are null until test was opened: all of them are figures of test. Raises CannotEvaluate."""
    summary = summary_of(run)
    plain = {
        "figures": summary["figures"],
        "detectors": [
            {name: cell[name] for name in ("name", "words", "changes", "refused")} for cell in summary["cells"]
        ],
        "alignments": {name: alignment.to_json() for name, alignment in alignments_of(summary).items()},
    }
    if not is_open(run):
        return study_json(run) | plain | {"cells": None, "sweep": None, "left_out": None}
    found = ablation_of(run)
    sweep = found.cells[0].sweep
    assert sweep is not None  # of the first cell
    return (
        study_json(run)
        | plain
        | {
            "cells": [_cell(cell) for cell in found.cells],
            "sweep": {name: getattr(sweep, name).tolist() for name in ("weights", "auroc", "low", "high")},
            "left_out": found.left_out,
        }
    )


def _cell(cell: CellResult) -> dict[str, Any]:
    return {
        "name": cell.name,
        "words": cell.words,
        "refused": cell.refused,
        "weight": cell.weight,
        "has_one_map": cell.has_one_map,
        "aurocs": {column: asdict(area) for column, area in cell.aurocs.items()},
        "differences": {column: asdict(one) for column, one in cell.differences.items()},
        "adjusted_p_values": cell.adjusted,
    }


def sweep_json(run: Run) -> dict[str, Any]:
    """Figures of tune, and of test once it was opened. Raises CannotEvaluate."""
    found = sweep_of(run, parts=parts_shown(run))
    return study_json(run) | {
        "axes": found.axes,
        "films": {part: asdict(films) for part, films in found.films.items()},
        "rows": [asdict(row) for row in found.rows],
        "settings": [asdict(setting) for setting in found.settings],
        "best_on_tune": found.best,
    }
