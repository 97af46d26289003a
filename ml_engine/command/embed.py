"""embed: the embedding map of a set of films."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.options import config_from_options
from ml_engine.command.prepare_run import prepare_folder, provide_backbone
from ml_engine.core.backbone import weights
from ml_engine.engine import manifest
from ml_engine.engine.embedding_folder import EMBEDDING, LAYOUT
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.runner import run_folder
from ml_engine.engine.study_plans import EmbeddingPlan


def embed_command(options: argparse.Namespace) -> int:
    config = config_from_options(options).replace(align="none", mask=False)
    plan = EmbeddingPlan(neighbours=options.map_neighbours, epochs=options.epochs)
    console = Console()
    table = [{name: text for name, text in line.items() if name != "split"} for line in manifest.read_csv(options.csv)]
    selection = manifest.for_score(table)
    config = provide_backbone(config, console, fits_alignment=False)
    rows = manifest.with_hashes(selection.rows, options.images)
    print_selection(selection, console)
    identity = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    spec = RunSpec("embedding", config, name="embedding map", weights=identity, asked={"embedding": plan.to_json()})
    out: Path = options.out
    prepare_folder(out, spec, rows)
    outcome = run_folder(out, images=options.images, listener=console.event)
    if outcome.has_results:
        console.say(f"{len(rows)} films embedded: {out / EMBEDDING}; their places: {out / LAYOUT}")
    return report_outcome(outcome)
