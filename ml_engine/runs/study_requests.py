"""Request ablations and sweeps: many detectors on one split, in one run. Checked before it is stored, as in
ml_engine.runs.requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ml_engine.core.backbone.weights import RANDOM
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.engine.stages import ablation, sweep
from ml_engine.engine.stages.plans import ExperimentPlan
from ml_engine.models import Run, RunKind
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import (
    RunRequest,
    check_films,
    check_needs_no_file,
    check_request,
    check_weights,
    queue,
)
from portal.models import Part, Split

T = TypeVar("T")
FIGURES = ("12", "13", "14", "15")  # the default leaves out the slowest: alignments of other backbones and losses


def request_ablation(
    request: RunRequest, *, split: Split, config: PipelineConfig, figures: Sequence[str] = FIGURES
) -> Run:
    """Request the paper's experiments on a split. Raises RunRefused."""
    if not figures:
        raise RunRefused(f"No figure is chosen: choose from {', '.join(ablation.FIGURES)}.")
    planned = _refuse_engine_errors(lambda: ablation.plan(config, tuple(figures)))
    return _queue(request, RunKind.ABLATION, split=split, config=config, planned=planned)


def request_sweep(
    request: RunRequest, *, split: Split, config: PipelineConfig, axes: Mapping[str, Sequence[str]]
) -> Run:
    """Request a detector for each combination of the axes' values. Raises RunRefused."""
    config, planned = plan_sweep(config, axes)
    return _queue(request, RunKind.SWEEP, split=split, config=config, planned=planned)


def plan_sweep(config: PipelineConfig, axes: Mapping[str, Sequence[str]]) -> tuple[PipelineConfig, ExperimentPlan]:
    """The config of the sweep's first experiment, and all its experiments. Raises RunRefused."""
    first = _refuse_engine_errors(lambda: sweep.config_of_first_experiment(config, axes))
    return first, _refuse_engine_errors(lambda: sweep.plan(first, axes))


def _queue(request: RunRequest, kind: RunKind, *, split: Split, config: PipelineConfig, planned: ExperimentPlan) -> Run:
    check_request(request, split=split)
    check_needs_no_file(config)
    check_films(split, [Part.FIT], why="detectors are fitted on its normal films")
    check_films(split, [Part.TEST], why="detectors are compared on its films")
    configs = [experiment.config(config) for experiment in planned.experiments]
    for experiment_config in configs:
        check_weights(experiment_config)
    return queue(
        request,
        kind=kind,
        planned=planned,
        split=split,
        config=config.to_json(),
        asked=planned.asked,
        seed=config.seed,
        random_weights=any(experiment_config.weights == RANDOM for experiment_config in configs),
    )


def _refuse_engine_errors(make: Callable[[], T]) -> T:
    try:
        return make()
    except EngineError as refusal:
        raise RunRefused(str(refusal)) from refusal
