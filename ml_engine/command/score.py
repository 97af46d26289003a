"""score: score films with a fitted detector."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ml_engine.command import alignment_inputs, fitted_views
from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.options import PLACES, config_from_options, explicit_settings
from ml_engine.command.prepare_run import (
    detector_folder,
    has_head,
    link_model,
    model_inputs,
    open_detector,
    prepare_folder,
)
from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.core.head.confirmed_head import load_head
from ml_engine.engine import manifest
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.shards import Shard, parse_range, shard_of
from ml_engine.engine.stages.runner import run_folder


def score_command(options: argparse.Namespace) -> int:
    model: Path = options.model
    detector = open_detector(model)
    config = config_for_model(options, detector.config)
    weights.require(config.weights, config.backbone, folder=weights.default_folder())
    table = manifest.read_csv(options.csv)
    selection = fitted_views.without_other_views(manifest.for_score(table), table, detector_folder(model))
    user_inputs = alignment_inputs.inputs_to_score(options, detector.config, [line["filename"] for line in table])
    rows, shard = _films_to_score(selection.rows, options)
    console = Console()
    print_selection(selection, console)
    out: Path = shard.folder_in(options.out) if shard else options.out
    inputs = model_inputs(model, detector.config)
    if has_head(model):
        inputs["head"] = files.sha256_of(model / "head.safetensors")
        load_head(model / "head.safetensors", detector_sha256=inputs["detector"])
    models, extra = list(inputs), user_inputs.for_detector(selection.rows)
    inputs |= alignment_inputs.hashes(extra)
    spec = RunSpec(
        kind="score",
        config=config,
        name="scores",
        weights=detector.weights,
        inputs=inputs,
        fusion_weight=config.fusion_weight if "fusion_weight" in explicit_settings(options) else None,
        shard=shard,
    )
    prepare_folder(out, spec, rows)
    alignment_inputs.write(out, extra)
    link_model(model, models, out)
    outcome = run_folder(out, images=options.images, listener=console.event)
    if outcome.has_results:
        beside = ", with the columns of the semi-supervised head" if "head" in inputs else ""
        then = f"; when all ranges are scored: python -m ml_engine merge {options.out}" if shard else ""
        console.say(f"{len(rows)} films scored: {out / 'scores.csv'}{beside}{then}")
    return report_outcome(outcome)


def _films_to_score(
    rows: list[manifest.ManifestRow], options: argparse.Namespace
) -> tuple[list[manifest.ManifestRow], Shard | None]:
    """The films of the command with their hashes, and their range; of a range only its own files are read."""
    if options.range is None:
        return manifest.with_hashes(rows, options.images), None
    if (options.out / "run.json").is_file():
        raise EngineError(f"{options.out} holds a whole run already: choose another --out, or delete it.")
    first, end = parse_range(options.range, len(rows))
    manifest.require_some_file(rows, options.images)
    return manifest.hashed(rows[first:end], options.images), shard_of(rows, first, end)


def config_for_model(options: argparse.Namespace, fitted: PipelineConfig) -> PipelineConfig:
    """The model's config with the requested device, threads and fusion weight. Raises InvalidConfig for any other
    change."""
    if options.preset not in (None, fitted.preset):
        raise InvalidConfig(f"preset is {options.preset}, but the model was fitted with {fitted.preset}: leave it out.")
    requested = config_from_options(options, fitted)
    free = [*PLACES, "memory_gib"]
    if "fusion_weight" in explicit_settings(options):
        free += ["fusion_weight", "fusion_choice"]
    config = fitted.replace(**{name: getattr(requested, name) for name in free})
    values = requested.to_json()
    for name, value in config.to_json().items():
        if values[name] != value and not _same_weights(name, values[name], value):
            raise InvalidConfig(
                f"{name} is {values[name]}, but the model was fitted with {value}: leave it out, or fit again."
            )
    return config


def _same_weights(name: str, requested: Any, fitted: Any) -> bool:
    """Whether the setting is ``weights`` and the requested file is the one imported under the fitted name."""
    if name != "weights" or not Path(requested).is_file():
        return False
    return Path(fitted).stem.endswith(files.sha256_of(Path(requested))[:8])
