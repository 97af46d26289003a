"""Many detectors in one run: each cell a detector fit and a scoring, in folders of their own, on shared features."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ml_engine.core import files
from ml_engine.core.backbone import feature_store, weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import manifest
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import AlignmentReport, StudyAlignment
from ml_engine.engine.run_folder import RunSpec, StageProgress, lay
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.engine.stages.plans import BASE_ALIGNMENT, Experiment, ExperimentPlan, features_digest
from ml_engine.engine.stages.run_context import RunContext

FITTING = ("fit", "tune", "calibrate")
Stage = Callable[[RunContext, StageProgress], dict[str, Any]]
Run = Callable[..., Outcome]  # runner.run_folder, given by the runner, since it has these stages


class Interrupted(EngineError):
    """A child was stopped by what passes, a full disk say: no finding, and tried again with the next attempt."""


def stages(planned: ExperimentPlan, run: Run) -> tuple[tuple[str, Stage], ...]:
    """The stages of a run of many cells: its alignments, its cells, its summary. ``run`` runs a child's folder."""
    aligning = [
        (f"alignment-{name}", partial(_align, name, changes, run)) for name, changes in planned.alignments.items()
    ]
    cells = [(f"cell-{cell.name}", partial(_cell, cell, planned, run)) for cell in planned.cells]
    return (*aligning, *cells, ("results", partial(_results, planned)))


def unreadable(planned: ExperimentPlan, work: RunContext) -> int:
    """How many films of the whole run could not be read."""
    of_cells = [work.folder.summary(f"cell-{cell.name}").get("unreadable") for cell in planned.cells]
    count = next((int(films) for films in of_cells if films is not None), 0)
    if BASE_ALIGNMENT in planned.alignments and _align_part(work) == "align":  # those of fit are among the cell's
        count += int(work.folder.summary(f"alignment-{BASE_ALIGNMENT}").get("unreadable", 0))
    return count


def _align_part(work: RunContext) -> str:
    """The part that alignments are fitted on."""
    return manifest.alignment_part(row.part for row in work.rows)


def alignment_folder(path: Path, name: str) -> Path:
    return path / "alignments" / name


def cell_folder(path: Path, name: str) -> Path:
    return path / "cells" / name


def _align(name: str, changes: dict[str, str], run: Run, work: RunContext, report: StageProgress) -> dict[str, Any]:
    folder = alignment_folder(work.folder.path, name)
    request = RunSpec("fit_alignment", work.config.replace_fields(changes), name=name)
    _lay(folder, request, manifest.alignment_rows(work.rows), {})
    try:
        return {"unreadable": _run_child(run, folder, work, report=report, words=f"alignment {name}")}
    except EngineError as refusal:  # a loss alone may well collapse: that is a finding
        if name == BASE_ALIGNMENT or isinstance(refusal, Interrupted):
            raise
        work.folder.log(f"Alignment {name} was refused: {refusal}")
        return {"refused": str(refusal)}


def _cell(
    cell: Experiment, planned: ExperimentPlan, run: Run, work: RunContext, report: StageProgress
) -> dict[str, Any]:
    """Fit and score a cell. A cell that is refused, a baseline that needs too much memory say, is a sentence in the
    table; the one that is needed ends the run."""
    store = _store(cell, work)
    without = work.folder.summary(f"alignment-{cell.alignment}").get("refused") if cell.alignment else None
    if without:
        return {"refused": without}
    try:
        found = _fit_and_score(cell, planned, run, store=store, work=work, report=report)
    except EngineError as refusal:
        if cell.name == planned.needed or isinstance(refusal, Interrupted):
            raise
        work.folder.log(f"Cell {cell.name} was refused: {refusal}")
        found = {"refused": str(refusal)}
    later = planned.cells[planned.cells.index(cell) + 1 :]
    if store not in [_store(other, work) for other in later]:
        shutil.rmtree(store, ignore_errors=True)
    return found


def _fit_and_score(
    cell: Experiment, planned: ExperimentPlan, run: Run, *, store: Path, work: RunContext, report: StageProgress
) -> dict[str, Any]:
    folder, config = cell_folder(work.folder.path, cell.name), cell.config(work.config)
    named = _weights(config, work)
    inputs = {}
    if cell.alignment:
        inputs["alignment"] = alignment_folder(work.folder.path, cell.alignment) / "alignment.safetensors"
    fitting = [row for row in work.rows if row.part in FITTING]
    request = RunSpec("fit_detector", config, name=cell.name, weights=named, inputs=_hashes(inputs))
    _lay(folder / "detector", request, fitting, inputs)
    missed = _run_child(run, folder / "detector", work, report=report, words=cell.words, store=store)
    inputs["detector"] = folder / "detector" / "detector.safetensors"
    scored = [row for row in work.rows if row.part in planned.scored]
    request = RunSpec("score", config, name=cell.name, weights=named, inputs=_hashes(inputs))
    _lay(folder / "scores", request, scored, inputs)
    _run_child(run, folder / "scores", work, report=report, words=cell.words, store=store)
    errors = ScoredFolder(folder / "scores").summary.unreadable
    return {"unreadable": missed + sum(scored[int(row)].part not in FITTING for row in errors)}


def _weights(config: PipelineConfig, work: RunContext) -> dict[str, Any]:
    """The backbone's weights of a cell: those that the run names, or, of another backbone, those on this machine."""
    if (config.weights, config.backbone) == (work.config.weights, work.config.backbone) and work.request.weights:
        return work.request.weights
    return weights.named(config.weights, config.backbone, folder=weights.default_folder())


def _store(cell: Experiment, work: RunContext) -> Path:
    """Where the features of a cell are kept: shared by the cells whose films come out the same."""
    return work.folder.stages / feature_store.FOLDER / features_digest(cell, work.config)


def _hashes(inputs: dict[str, Path]) -> dict[str, str]:
    return {name: files.sha256_of(path) for name, path in inputs.items()}


def _lay(folder: Path, request: RunSpec, rows: list[manifest.ManifestRow], inputs: dict[str, Path]) -> None:
    """Write a child's run folder unless it is there: its request is fixed by the run's."""
    if not (folder / "run.json").exists():
        lay(folder, request.to_json(), rows, inputs=inputs)


def _run_child(
    run: Run, folder: Path, work: RunContext, *, report: StageProgress, words: str, store: Path | None = None
) -> int:
    """Run a child's folder to its end and return how many of its films could not be read."""

    def relay(event: dict[str, Any]) -> None:
        if "stage" in event:
            report(event["done"], event["total"], f"{words}: {event['stage']}")

    outcome = run(folder, images=work.images, device=work.device_name, listener=relay, features=store)
    if outcome.passing:
        raise Interrupted(outcome.sentence)
    if outcome.status == ExitStatus.REFUSED:
        raise EngineError(outcome.sentence)
    if not outcome.has_results:
        raise RuntimeError(f"{folder.relative_to(work.folder.path)} ended with a bug: see its log.txt")
    return outcome.unreadable


def _results(planned: ExperimentPlan, work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The summary, ablation.json or sweep.json: what each cell changes, where its scores are, its fusion weight; the
    alignments' reports."""
    path = work.folder.path
    cells = [_facts(cell, work) for cell in planned.cells]
    refused = [cell["refused"] for cell in cells if cell["refused"]]
    if len(refused) == len(cells):
        raise EngineError(f"None of the {len(cells)} detectors could be fitted. The first: {refused[0]}")
    alignments = {}
    for name, changes in planned.alignments.items():
        reason = work.folder.summary(f"alignment-{name}").get("refused", "")
        measures = None if reason else AlignmentReport.read(alignment_folder(path, name)).measures
        alignments[name] = StudyAlignment(changes=changes, refused=reason, measures=measures).to_json()
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "weights": work.request.weights or {"name": work.config.weights, "sha256": None},
        "config": work.config.to_json(),
        "cells": cells,
        "alignments": alignments,
    }
    files.write_json(path / f"{work.request.kind}.json", summary | planned.asked)
    return {}


def _facts(cell: Experiment, work: RunContext) -> dict[str, Any]:
    path = work.folder.path
    found = work.folder.summary(f"cell-{cell.name}")
    facts: dict[str, Any] = {"name": cell.name, "words": cell.words, "changes": cell.changes}
    facts |= {"alignment": cell.alignment, "refused": found.get("refused", "")}
    if not facts["refused"]:
        scores = cell_folder(path, cell.name) / "scores"
        summary = ScoredFolder(scores).summary
        facts |= {"scores": str(scores.relative_to(path))}
        facts |= {"fusion_weight": summary.fusion_weight, "fusion_source": summary.fusion_source}
    return facts
