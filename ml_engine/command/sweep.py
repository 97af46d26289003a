"""sweep: compare backbones, sizes, rates, neighbours and seeds on a split."""

from __future__ import annotations

import argparse

from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.options import config_from_options
from ml_engine.command.prepare_run import prepare_folder, provide_backbone, provide_weights
from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.config import PipelineConfig
from ml_engine.engine import csv_copies, manifest
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.plans import ExperimentPlan
from ml_engine.engine.stages.runner import run_folder
from ml_engine.engine.stages.sweep import config_of_first_experiment, plan, read_axes


def sweep_command(options: argparse.Namespace) -> int:
    axes = read_axes(options.axis)
    config = config_of_first_experiment(config_from_options(options), axes)
    planned = plan(config, axes)
    console = Console()
    table, left_out = csv_copies.keep_one(manifest.read_csv(options.csv), options.images)
    selection = manifest.for_fit_and_score(table, preset=config.preset, seed=config.seed)
    selection = csv_copies.with_reasons(selection, left_out)
    manifest.check_parts(selection.rows, config)
    config = provide_backbone(config, console, fits_alignment=config.align == "network")
    for backbone, name in dict.fromkeys(_weights(planned, config)):
        provide_weights(name, backbone, console)
    rows = manifest.with_hashes(selection.rows, options.images)
    print_selection(selection, console)
    identity = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    prepare_folder(options.out, RunSpec("sweep", config, name="sweep", weights=identity, axes=axes), rows)
    console.say(planned.forecast(config) + ", one after the other")
    outcome = run_folder(options.out, images=options.images, listener=console.event)
    if outcome.has_results:
        for experiment in files.read_json(options.out / "sweep.json")["cells"]:
            console.say(f"{experiment['words']}: {experiment['refused'] or 'scored'}")
        console.say(f"the table with intervals: python -m analysis.sweep {options.out} --csv {options.csv}")
    return report_outcome(outcome)


def _weights(planned: ExperimentPlan, config: PipelineConfig) -> list[tuple[str, str]]:
    """(backbone, weights) of each experiment."""
    configs = [experiment.config(config) for experiment in planned.experiments]
    return [(each.backbone, each.weights) for each in configs]
