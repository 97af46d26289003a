"""Many detectors in one run: each experiment fits one and scores films in its own folders, on shared features."""

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
from ml_engine.engine.run_folder import RunSpec, StageProgress, write_run_folder
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.engine.stages.plans import BASE_ALIGNMENT, Experiment, ExperimentPlan, features_digest
from ml_engine.engine.stages.run_context import RunContext

FITTING = ("fit", "tune", "calibrate")
Stage = Callable[[RunContext, StageProgress], dict[str, Any]]
Run = Callable[..., Outcome]  # runner.run_folder; passed in, because the runner imports this module


class Interrupted(EngineError):
    """A temporary fault, such as a full disk, stopped a child run. The next attempt tries it again."""


def stages(plan: ExperimentPlan, run: Run) -> tuple[tuple[str, Stage], ...]:
    """One stage for each alignment and each experiment, then the summary. ``run`` runs a child's folder."""
    aligning = [(f"alignment-{name}", partial(_align, name, changes, run)) for name, changes in plan.alignments.items()]
    experimenting = [(f"cell-{each.name}", partial(_run_experiment, each, plan, run)) for each in plan.experiments]
    return (*aligning, *experimenting, ("results", partial(_results, plan)))


def unreadable(plan: ExperimentPlan, context: RunContext) -> int:
    """The number of films of the whole run that could not be read."""
    summaries = [context.folder.summary(f"cell-{experiment.name}") for experiment in plan.experiments]
    count = next((int(summary["unreadable"]) for summary in summaries if summary.get("unreadable") is not None), 0)
    if BASE_ALIGNMENT in plan.alignments and _align_part(context) == "align":  # films of fit are already counted
        count += int(context.folder.summary(f"alignment-{BASE_ALIGNMENT}").get("unreadable", 0))
    return count


def _align_part(context: RunContext) -> str:
    """The part that alignments are fitted on."""
    return manifest.alignment_part(row.part for row in context.rows)


def alignment_folder(path: Path, name: str) -> Path:
    return path / "alignments" / name


def experiment_folder(path: Path, name: str) -> Path:
    return path / "cells" / name


def _align(
    name: str, changes: dict[str, str], run: Run, context: RunContext, progress: StageProgress
) -> dict[str, Any]:
    folder = alignment_folder(context.folder.path, name)
    spec = RunSpec("fit_alignment", context.config.replace_fields(changes), name=name)
    _write_child_folder(folder, spec, manifest.alignment_rows(context.rows), {})
    try:
        return {"unreadable": _run_child(run, folder, context, progress=progress, words=f"alignment {name}")}
    except EngineError as refusal:  # a single loss may collapse, which is a result of the ablation
        if name == BASE_ALIGNMENT or isinstance(refusal, Interrupted):
            raise
        context.folder.log(f"Alignment {name} was refused: {refusal}")
        return {"refused": str(refusal)}


def _run_experiment(
    experiment: Experiment, plan: ExperimentPlan, run: Run, context: RunContext, progress: StageProgress
) -> dict[str, Any]:
    """Fit and score the detector of an experiment. The reason of a refusal, such as a baseline that needs too much
    memory, is stored for the table; if the experiment is `ExperimentPlan.needed`, the refusal ends the run."""
    store = _store(experiment, context)
    if experiment.alignment:
        reason = context.folder.summary(f"alignment-{experiment.alignment}").get("refused")
        if reason:
            return {"refused": reason}
    try:
        result = _fit_and_score(experiment, plan, run, store=store, context=context, progress=progress)
    except EngineError as refusal:
        if experiment.name == plan.needed or isinstance(refusal, Interrupted):
            raise
        context.folder.log(f"Experiment {experiment.name} was refused: {refusal}")
        result = {"refused": str(refusal)}
    later = plan.experiments[plan.experiments.index(experiment) + 1 :]
    if store not in [_store(other, context) for other in later]:
        shutil.rmtree(store, ignore_errors=True)
    return result


def _fit_and_score(
    experiment: Experiment,
    plan: ExperimentPlan,
    run: Run,
    *,
    store: Path,
    context: RunContext,
    progress: StageProgress,
) -> dict[str, Any]:
    folder = experiment_folder(context.folder.path, experiment.name)
    config = experiment.config(context.config).replace(controls=0)
    named = _weights(config, context)
    inputs = {}
    if experiment.alignment:
        inputs["alignment"] = alignment_folder(context.folder.path, experiment.alignment) / "alignment.safetensors"
    fitting = [row for row in context.rows if row.part in FITTING]
    spec = RunSpec("fit_detector", config, name=experiment.name, weights=named, inputs=_hashes(inputs))
    _write_child_folder(folder / "detector", spec, fitting, inputs)
    missed = _run_child(run, folder / "detector", context, progress=progress, words=experiment.words, store=store)
    inputs["detector"] = folder / "detector" / "detector.safetensors"
    scored = [row for row in context.rows if row.part in plan.scored]
    spec = RunSpec("score", config, name=experiment.name, weights=named, inputs=_hashes(inputs))
    _write_child_folder(folder / "scores", spec, scored, inputs)
    _run_child(run, folder / "scores", context, progress=progress, words=experiment.words, store=store)
    errors = ScoredFolder(folder / "scores").summary.unreadable
    return {"unreadable": missed + sum(scored[int(row)].part not in FITTING for row in errors)}


def _weights(config: PipelineConfig, context: RunContext) -> dict[str, Any]:
    """The weights of an experiment's backbone: the run's, or for another backbone those on this machine."""
    if (config.weights, config.backbone) == (context.config.weights, context.config.backbone) and context.spec.weights:
        return context.spec.weights
    return weights.named(config.weights, config.backbone, folder=weights.default_folder())


def _store(experiment: Experiment, context: RunContext) -> Path:
    """The folder of an experiment's features, shared by all experiments with equal features."""
    return context.folder.stages / feature_store.FOLDER / features_digest(experiment, context.config)


def _hashes(inputs: dict[str, Path]) -> dict[str, str]:
    return {name: files.sha256_of(path) for name, path in inputs.items()}


def _write_child_folder(folder: Path, spec: RunSpec, rows: list[manifest.ManifestRow], inputs: dict[str, Path]) -> None:
    """Write a child's run folder unless it exists: the run's specification determines it."""
    if not (folder / "run.json").exists():
        write_run_folder(folder, spec.to_json(), rows, inputs=inputs)


def _run_child(
    run: Run, folder: Path, context: RunContext, *, progress: StageProgress, words: str, store: Path | None = None
) -> int:
    """Run a child's folder to its end and return how many of its films could not be read."""

    def relay(event: dict[str, Any]) -> None:
        if "stage" in event:
            progress(event["done"], event["total"], f"{words}: {event['stage']}")

    outcome = run(folder, images=context.images, device=context.device_name, listener=relay, features=store)
    if outcome.is_temporary:
        raise Interrupted(outcome.sentence)
    if outcome.status == ExitStatus.REFUSED:
        raise EngineError(outcome.sentence)
    if not outcome.has_results:
        raise RuntimeError(f"{folder.relative_to(context.folder.path)} ended with a bug: see its log.txt")
    return outcome.unreadable


def _results(plan: ExperimentPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the summary, ablation.json or sweep.json: each experiment's changes, score folder and fusion weight, and
    the alignments' reports."""
    path = context.folder.path
    experiments = [_facts(experiment, context) for experiment in plan.experiments]
    refusals = [facts["refused"] for facts in experiments if facts["refused"]]
    if len(refusals) == len(experiments):
        raise EngineError(f"None of the {len(experiments)} detectors could be fitted. The first: {refusals[0]}")
    alignments = {}
    for name, changes in plan.alignments.items():
        reason = context.folder.summary(f"alignment-{name}").get("refused", "")
        measures = None if reason else AlignmentReport.read(alignment_folder(path, name)).measures
        alignments[name] = StudyAlignment(changes=changes, refused=reason, measures=measures).to_json()
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "weights": context.spec.weights or {"name": context.config.weights, "sha256": None},
        "config": context.config.to_json(),
        "cells": experiments,
        "alignments": alignments,
    }
    files.write_json(path / f"{context.spec.kind}.json", summary | plan.asked)
    return {}


def _facts(experiment: Experiment, context: RunContext) -> dict[str, Any]:
    path = context.folder.path
    result = context.folder.summary(f"cell-{experiment.name}")
    facts: dict[str, Any] = {"name": experiment.name, "words": experiment.words, "changes": experiment.changes}
    facts |= {"alignment": experiment.alignment, "refused": result.get("refused", "")}
    if not facts["refused"]:
        scores = experiment_folder(path, experiment.name) / "scores"
        summary = ScoredFolder(scores).summary
        facts |= {"scores": str(scores.relative_to(path))}
        facts |= {"fusion_weight": summary.fusion_weight, "fusion_source": summary.fusion_source}
    return facts
