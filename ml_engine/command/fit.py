"""fit: an alignment, if the settings require one, and a detector on normal films."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_engine.command import alignment_inputs, fitted_views
from ml_engine.command.console import Console, print_detector, print_selection, report_outcome
from ml_engine.command.options import config_from_options
from ml_engine.command.prepare_run import films_for_next, fit_alignment_first, prepare_folder, provide_backbone
from ml_engine.core import files
from ml_engine.core.backbone import feature_store, networks, weights
from ml_engine.engine import csv_copies, manifest
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import DetectorReport
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.runner import run_folder


def fit_command(options: argparse.Namespace) -> int:
    config = config_from_options(options)
    table = manifest.read_csv(options.csv)
    once, left_out = csv_copies.keep_one(table, options.images)
    selection = manifest.for_fit(once, preset=config.preset, seed=config.seed)
    selection = csv_copies.with_reasons(selection, left_out)
    user_inputs = alignment_inputs.inputs_to_fit(options, config, [line["filename"] for line in table])
    manifest.check_parts(selection.rows, config)  # before the alignment, which may take hours
    networks.require(config)
    console = Console()
    config = provide_backbone(config, console, fits_alignment=config.align == "network")  # before films are read
    rows = manifest.with_hashes(selection.rows, options.images)
    out: Path = options.out
    print_selection(selection, console)
    inputs = {}
    unreadable = 0
    films = films_for_next(rows)
    if config.align == "network":
        extra = user_inputs.for_run(manifest.alignment_rows(rows))
        outcome = fit_alignment_first(
            out, config, rows, images=options.images, console=console, extra=extra, films=films
        )
        if not outcome.has_results:
            return report_outcome(outcome)
        part = manifest.alignment_part(row.part for row in rows)
        unreadable = outcome.unreadable if part == "align" else 0  # films of fit are counted below
        inputs["alignment"] = files.sha256_of(out / "alignment.safetensors")
    identity = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    fitting = [row for row in rows if row.part != "align"]
    extra = user_inputs.for_detector(fitting)
    inputs |= alignment_inputs.hashes(extra)
    spec = RunSpec(kind="fit_detector", config=config, name="detector", inputs=inputs, weights=identity)
    prepare_folder(out, spec, fitting)
    alignment_inputs.write(out, extra)
    if options.keep_features:
        (out / feature_store.FOLDER).mkdir(exist_ok=True)
    outcome = run_folder(out, images=options.images, listener=console.event, films=films)
    if outcome.has_results:
        fitted_views.write(out, table, fitting)
        print_detector(DetectorReport.read(out), out, console)
        unreadable += outcome.unreadable
        outcome = Outcome(ExitStatus.UNREADABLE if unreadable else ExitStatus.DONE, unreadable=unreadable)
    return report_outcome(outcome)
