"""bank-study and blind-spots: how many normal films and how clean, and which lesions a detector misses."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.options import PLACES, config_from_options
from ml_engine.command.prepare_run import (
    films_for_next,
    fit_alignment_first,
    link_model,
    model_inputs,
    open_detector,
    prepare_folder,
    provide_backbone,
)
from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine import csv_copies, manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.bank_study import check_config
from ml_engine.engine.stages.runner import run_folder
from ml_engine.engine.study_plans import (
    KINDS,
    SIZES_MM,
    BankPlan,
    LesionPlan,
    check_reachable,
    parse_numbers,
)


def bank_study_command(options: argparse.Namespace) -> int:
    config = config_from_options(options)
    check_config(config)
    plan = BankPlan.from_json(
        {
            "shares": parse_numbers("--shares", options.shares),
            "repeats": options.repeats,
            "contaminations": parse_numbers("--contaminations", options.contaminations),
        }
    )
    if options.alignment is not None and config.align == "none":
        raise InvalidConfig("--alignment names an alignment, and align is none: leave one of the two out.")
    console = Console()
    table, left_out = csv_copies.keep_one(manifest.read_csv(options.csv), options.images)
    selection = manifest.for_fit_and_score(table, preset=config.preset, seed=config.seed)
    selection = csv_copies.with_reasons(selection, left_out)
    studied = _study_rows(selection.rows)
    manifest.check_parts(studied, config)
    parts = [row.part for row in studied]
    check_reachable(plan, normals=parts.count("fit"), abnormals=parts.count("tune"))
    fits_alignment = config.align == "network" and options.alignment is None
    config = provide_backbone(config, console, fits_alignment=fits_alignment)
    rows = manifest.with_hashes(selection.rows, options.images)
    print_selection(selection, console)
    out: Path = options.out
    inputs = {}
    films = films_for_next(rows)
    if config.align == "network":
        if options.alignment is None:
            outcome = fit_alignment_first(
                out, config, rows, images=options.images, console=console, extra={}, films=films
            )
            if not outcome.has_results:
                return report_outcome(outcome)
        elif not options.alignment.is_file():
            raise EngineError(f"There is no file {options.alignment}: name the alignment.safetensors of a fit.")
        else:
            files.link_or_copy(options.alignment, out / "inputs" / "alignment.safetensors")
        inputs["alignment"] = files.sha256_of(out / "inputs" / "alignment.safetensors")
    identity = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    settings = {"bank": plan.to_json()}
    spec = RunSpec("bank_study", config, name="bank study", weights=identity, inputs=inputs, asked=settings)
    prepare_folder(out, spec, _study_rows(rows))
    console.say(f"{len(plan.banks)} banks, one after the other")
    outcome = run_folder(out, images=options.images, listener=console.event, films=films)
    if outcome.has_results:
        console.say(f"the table with intervals: python -m analysis.studies.bank {out} --csv {options.csv}")
    return report_outcome(outcome)


def _study_rows(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """The films of a bank study: all but the normal films of tune and the films of align."""
    return [row for row in rows if row.part != "align" and (row.part, row.label) != ("tune", "normal")]


def blind_spots_command(options: argparse.Namespace) -> int:
    model: Path = options.model
    detector = open_detector(model)
    plan = LesionPlan.from_json(
        {
            "part": options.part,
            "films": options.films,
            "places": options.places,
            "kinds": [kind.strip() for kind in options.kinds.split(",")],
            "sizes_mm": dict(SIZES_MM) | _parse_sizes(options.size_mm),
            "contrasts": parse_numbers("--contrasts", options.contrasts),
        }
    )
    config = _on_device(detector.config, options)
    weights.require(config.weights, config.backbone, folder=weights.default_folder())
    table, _ = csv_copies.keep_one(manifest.read_csv(options.csv), options.images)
    drawn = draw_normals(table, plan, config)
    rows = manifest.with_hashes(drawn, options.images)
    out: Path = options.out
    inputs = model_inputs(model, config)
    spec = RunSpec(
        "blind_spots",
        config,
        name="blind spots",
        weights=detector.weights,
        inputs=inputs,
        asked={"lesions": plan.to_json()},
    )
    prepare_folder(out, spec, rows)
    link_model(model, list(inputs), out)
    console = Console()
    console.say(f"lesions are pasted into {len(rows)} normal films of {plan.part}")
    outcome = run_folder(out, images=options.images, listener=console.event)
    if outcome.has_results:
        console.say(f"the table with intervals: python -m analysis.studies.blind {out}")
    return report_outcome(outcome)


def _on_device(config: PipelineConfig, options: argparse.Namespace) -> PipelineConfig:
    """The config with the device and threads of the options."""
    changes = {name: getattr(options, name) for name in PLACES if getattr(options, name) is not None}
    return config.replace(**changes)


def _parse_sizes(assignments: Sequence[str]) -> dict[str, tuple[float, ...]]:
    sizes = {}
    for assignment in assignments:
        kind, equals, text = assignment.partition("=")
        if not equals or kind not in KINDS:
            raise InvalidConfig(f"--size-mm {assignment!r}: write KIND=LIST, such as nodule=5,10,20.")
        sizes[kind] = parse_numbers(f"size of {kind}", text)
    return sizes


def draw_normals(table: list[dict[str, str]], plan: LesionPlan, config: PipelineConfig) -> list[ManifestRow]:
    """The normal films of the part, drawn by the seed if there are more than planned. Raises InvalidManifest."""
    labels = {line["filename"]: line.get("label", "").lower() for line in table}
    if plan.part == "test":
        rows = [
            row for row in manifest.for_score(table).rows if row.part == "test" and labels[row.filename] == "normal"
        ]
    else:
        fitting = manifest.for_fit(table, preset=config.preset, seed=config.seed).rows
        rows = [row for row in fitting if row.part == plan.part and row.label == "normal"]
    if not rows:
        raise manifest.InvalidManifest(
            f"The CSV has no normal film in the {plan.part} part: lesions are pasted into held-out normal films."
        )
    order = np.random.default_rng(config.seed).permutation(len(rows))[: plan.films]
    return [replace(rows[k], label="") for k in sorted(order.tolist())]
