"""fit_head: a semi-supervised head beside a fitted detector, from films that people confirmed as abnormal."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_engine.command.console import Console, report_outcome
from ml_engine.command.options import PLACES
from ml_engine.command.prepare_run import detector_folder, link_model, model_inputs, open_detector, prepare_folder
from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import InvalidConfig
from ml_engine.core.head.confirmed_head import require_confirmed
from ml_engine.engine import fit_scores, manifest, reads
from ml_engine.engine.head_folder import CONTROL, SUMMARY
from ml_engine.engine.reads import Reads
from ml_engine.engine.run_folder import INPUTS, RunSpec
from ml_engine.engine.stages.runner import run_folder
from ml_engine.engine.study_plans import PENALTY_BY_FOLDS, HeadPlan


def fit_head_command(options: argparse.Namespace) -> int:
    model: Path = options.model
    detector = open_detector(model)
    plan = _plan(options)
    changes = {name: getattr(options, name) for name in PLACES if getattr(options, name) is not None}
    config = detector.config.replace(**changes)
    _refuse_landmarks(config)
    weights.require(config.weights, config.backbone, folder=weights.default_folder())
    selected = reads.select(manifest.read_csv(options.csv), manifest.read(model / "images.csv"), name=options.csv.name)
    require_confirmed(selected.abnormal)
    selected = _with_hashes(selected, options.images)
    console = Console()
    _print_reads(selected, console)
    inputs = model_inputs(model, config)
    models = list(inputs)
    inputs["reads"] = reads.sha256_of(selected.films)
    own_scores = detector_folder(model) / fit_scores.SCORES
    if own_scores.is_file():
        inputs["fit_scores"] = files.sha256_of(own_scores)
    spec = RunSpec(
        "fit_head",
        config,
        name="semi-supervised head",
        weights=detector.weights,
        inputs=inputs,
        asked={"head": plan.to_json()},
    )
    out: Path = options.out
    prepare_folder(out, spec, selected.rows)
    reads.write(out / INPUTS["reads"], selected.films)
    link_model(model, models, out)
    if own_scores.is_file():
        files.link_or_copy(own_scores, out / INPUTS["fit_scores"])
    outcome = run_folder(out, images=options.images, listener=console.event)
    if outcome.has_results:
        _print_head(out, console)
    return report_outcome(outcome)


def _plan(options: argparse.Namespace) -> HeadPlan:
    penalty: Any = options.penalty
    if penalty != PENALTY_BY_FOLDS:
        try:
            penalty = float(penalty)
        except ValueError:
            pass  # the plan refuses the text
    return HeadPlan(
        penalty=penalty,
        read_normals=options.read_normals,
        false_alarm_rate=options.false_alarm_rate,
        repeats=options.repeats,
    )


def _refuse_landmarks(config: PipelineConfig) -> None:
    if config.align == "network" and config.alignment.method == "landmarks":
        raise InvalidConfig(
            "This model aligns films by landmarks, which reads do not have: choose a model with another alignment."
        )


def _with_hashes(selected: Reads, images: Path) -> Reads:
    """The rows with the SHA-256 of their files; those of the model keep the hash that its fit saw."""
    rows = manifest.with_hashes(selected.rows, images)
    rows = [replace(new, sha256=row.sha256 or new.sha256) for row, new in zip(selected.rows, rows, strict=True)]
    reads.refuse_copies(rows)
    return replace(selected, rows=rows)


def _print_reads(selected: Reads, console: Console) -> None:
    verdicts = [film.verdict for film in selected.films if film.is_in_pool]
    console.say(
        f"{len(verdicts)} films of the pool: {verdicts.count('abnormal')} read as abnormal, "
        f"{verdicts.count('normal')} read as normal, {verdicts.count('')} not read"
    )
    for reason, count in sorted(selected.left_out.items()):
        console.say(f"{count} rows left out: {reason}")


def _print_head(out: Path, console: Console) -> None:
    summary, control = files.read_json(out / SUMMARY), files.read_json(out / CONTROL)
    console.say(
        f"known and scored normals are separable with an AUROC of {control['auroc']:.2f} "
        f"({control['low']:.2f} to {control['high']:.2f}): passed"
    )
    curve = summary["learning_curve"]
    if curve["points"]:
        last, one_class = curve["points"][-1], curve["one_class"]
        gain = last["gain"]
        console.say(
            f"tune, {curve['films']} films: one-class {one_class['value']:.3f}, with {last['reads']:g} reads "
            f"semi-supervised {last['combined']['value']:.3f}, gain {gain['value']:+.3f} ({gain['low']:+.3f} to "
            f"{gain['high']:+.3f})"
        )
    console.say(f"{summary['about']} Model: {out}")
