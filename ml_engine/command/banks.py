"""bank-study and blind-spots: how many normal films and how clean, and which lesions a detector misses."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.options import PLACES, add_films, add_model, add_settings, config_from_options
from ml_engine.command.prepare_run import (
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
    CONTAMINATIONS,
    CONTRASTS,
    KINDS,
    SHARES,
    SIZES_MM,
    BankPlan,
    LesionPlan,
    check_reachable,
    parse_numbers,
)


def add_bank_study(commands: Any, *, epilog: str) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bank-study",
        help="score test with banks of fewer normal films, and of films with some abnormal ones",
        epilog=epilog + " The table with intervals: python -m analysis.studies.bank OUT --csv FILE.",
    )
    _add_films(parser)
    parser.add_argument("--shares", default=_joined(SHARES), metavar="LIST", help="shares of the fit films")
    parser.add_argument(
        "--contaminations", default=_joined(CONTAMINATIONS), metavar="LIST", help="shares of abnormal films in a bank"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="R", help="random draws of each share (default: 3)")
    parser.add_argument(
        "--alignment", type=Path, metavar="FILE", help="alignment.safetensors of a fit; by default one is fitted first"
    )
    add_settings(parser)
    parser.set_defaults(command=bank_study_command)


def add_blind_spots(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "blind-spots",
        help="paste lesions of known size and contrast into normal films, and score them",
        epilog=epilog + " The table with intervals: python -m analysis.studies.blind OUT.",
    )
    _add_films(parser)
    add_model(parser)
    parser.add_argument(
        "--part", default="tune", choices=("tune", "test"), help="part of the normal films (default: tune)"
    )
    parser.add_argument("--films", type=int, default=50, metavar="N", help="normal films at most (default: 50)")
    parser.add_argument("--places", type=int, default=2, metavar="N", help="places per kind and film (default: 2)")
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="LIST", help=f"kinds of lesion: {', '.join(KINDS)}")
    parser.add_argument(
        "--contrasts", default=_joined(CONTRASTS), metavar="LIST", help="contrasts as shares of the gray scale"
    )
    parser.add_argument(
        "--size-mm",
        action="append",
        default=[],
        metavar="KIND=LIST",
        help="sizes of a kind in mm, such as nodule=5,10,20; may be repeated",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="device to run on")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads; the same number gives the same bytes")
    parser.set_defaults(command=blind_spots_command)


def _add_films(parser: argparse.ArgumentParser) -> None:
    add_films(parser, csv="CSV with filename, label and split, in the format of fit")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="new folder for the study")


def _joined(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


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
    if config.align == "network":
        if options.alignment is None:
            outcome = fit_alignment_first(out, config, rows, images=options.images, console=console, extra={})
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
    outcome = run_folder(out, images=options.images, listener=console.event)
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
