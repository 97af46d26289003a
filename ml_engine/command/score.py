"""score: films with a fitted detector."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ml_engine.command import alignment_inputs
from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.lay_folder import lay, link_model, model_inputs, open_detector
from ml_engine.command.options import PLACES, add_films, add_model, add_settings, configured, given_settings
from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine import manifest
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.runner import run_folder


def add(commands: Any, *, epilog: str) -> None:
    """Add the command to the parser's."""
    score = commands.add_parser(
        "score",
        help="score films with a fitted detector",
        epilog=epilog + " The settings of the method come with the model; one given here must be the model's.",
    )
    add_films(score)
    add_model(score)
    score.add_argument("--out", type=Path, required=True, metavar="SCORES_DIR", help="folder of the scores, made new")
    alignment_inputs.add_options(score, canonical=False)
    add_settings(score)
    score.set_defaults(command=score_command)


def score_command(options: argparse.Namespace) -> int:
    model: Path = options.model
    detector = open_detector(model)
    asked = checked_against_model(options, detector.config)
    table = manifest.read_csv(options.csv)
    selection = manifest.for_score(table)
    given = alignment_inputs.given_to_score(options, detector.config, [line["filename"] for line in table])
    rows = manifest.with_hashes(selection.rows, options.images)
    console = Console()
    print_selection(selection, console)
    out: Path = options.out
    inputs = model_inputs(model, detector.config)
    models, extra = list(inputs), given.for_detector(rows)
    inputs |= alignment_inputs.hashes(extra)
    request = RunSpec(
        kind="score",
        config=asked,
        name="scores",
        weights=detector.weights,
        inputs=inputs,
        fusion_weight=asked.fusion_weight if "fusion_weight" in given_settings(options) else None,
    )
    lay(out, request, rows)
    alignment_inputs.write(out, extra)
    link_model(model, models, out)
    outcome = run_folder(out, images=options.images, listener=console.event)
    if outcome.has_results:
        console.say(f"{len(rows)} films scored: {out / 'scores.csv'}")
    return report_outcome(outcome)


def checked_against_model(options: argparse.Namespace, made: PipelineConfig) -> PipelineConfig:
    """The model's config with the device and threads asked for. Raises InvalidConfig for any other change."""
    if options.preset not in (None, made.preset):
        raise InvalidConfig(f"preset is {options.preset}, but the model was fitted with {made.preset}: leave it out.")
    asked = configured(options, made)
    free = [*PLACES]
    if "fusion_weight" in given_settings(options):
        free += ["fusion_weight", "fusion_choice"]
    for name, value in made.replace(**{name: getattr(asked, name) for name in free}).to_json().items():
        if asked.to_json()[name] != value and not _same_weights(name, asked.to_json()[name], value):
            raise InvalidConfig(
                f"{name} is {asked.to_json()[name]}, but the model was fitted with {value}: leave it out, or fit again."
            )
    return made.replace(**{name: getattr(asked, name) for name in free})


def _same_weights(name: str, asked: Any, made: Any) -> bool:
    """Whether a file given by its path is the one that was imported under the model's name."""
    if name != "weights" or not Path(asked).is_file():
        return False
    return Path(made).stem.endswith(files.sha256_of(Path(asked))[:8])
