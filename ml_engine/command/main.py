"""fit, score and run: files in, files out. Both fit and score write a run folder and run it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_engine.command import ablation as ablation_command
from ml_engine.command import alignment_inputs, banks, grow_and_forget, repeat, sweep
from ml_engine.command.console import Console, close, tell_detector, tell_selection
from ml_engine.core import files
from ml_engine.core.backbone import feature_store, networks, weights
from ml_engine.core.config import BACKBONES, DETECTORS, PRESETS, PipelineConfig
from ml_engine.core.detector.pipeline import load_detector
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine import manifest
from ml_engine.engine.explain import explain
from ml_engine.engine.run_folder import Request, end_with_parent
from ml_engine.engine.stages.runner import OK, REFUSED, UNREADABLE, Outcome, run_folder

EPILOG = "Exit status: 0 done, 1 a bug (see log.txt), 2 refused with a sentence, 3 done but some films are unreadable."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except EngineError as refusal:
        print(f"ml_engine: {refusal}", file=sys.stderr)  # noqa: T201 (the command line speaks)
        return REFUSED
    except OSError as problem:  # a path that is no folder, may not be written, or lies on a full disk
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"ml_engine: {where}{problem.strerror or problem}. Check the paths given.", file=sys.stderr)  # noqa: T201
        return REFUSED
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ml_engine",
        description="Region- and global-specific PatchCore, without the portal.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit an alignment and a detector on normal films", epilog=EPILOG)
    _add_films(fit)
    fit.add_argument("--out", type=Path, required=True, metavar="MODEL_DIR", help="folder of the model, made new")
    fit.add_argument(
        "--keep-features",
        action="store_true",
        help="keep the films' features in MODEL_DIR/features (5 MB a film at 224 px): grow and forget are exact then",
    )
    alignment_inputs.add_options(fit, canonical=True)
    _add_settings(fit)
    fit.set_defaults(command=fit_command)
    score = commands.add_parser(
        "score",
        help="score films with a fitted detector",
        epilog=EPILOG + " The settings of the method come with the model; one given here must be the model's.",
    )
    _add_films(score)
    score.add_argument("--model", type=Path, required=True, metavar="MODEL_DIR", help="folder that fit made")
    score.add_argument("--out", type=Path, required=True, metavar="SCORES_DIR", help="folder of the scores, made new")
    alignment_inputs.add_options(score, canonical=False)
    _add_settings(score)
    score.set_defaults(command=score_command)
    explain = commands.add_parser(
        "explain",
        help="say which normal patches a patch of a film was compared with",
        epilog=EPILOG + " Prints one JSON object.",
    )
    explain.add_argument("--model", type=Path, required=True, metavar="MODEL_DIR", help="folder that fit made")
    explain.add_argument("--film", type=Path, required=True, metavar="FILE", help="the film")
    explain.add_argument("--patch", metavar="ROW,COLUMN", help="the patch; the highest of the fused map unless given")
    explain.add_argument("--neighbours", type=int, default=5, metavar="K", help="how many of each bank (default: 5)")
    explain.add_argument("--images", type=Path, metavar="DIR", help="the model's films: says where each neighbour lies")
    explain.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where it runs")
    explain.set_defaults(command=explain_command)
    grow_and_forget.add(commands, epilog=EPILOG)
    repeat.add(commands, epilog=EPILOG)
    ablation = ablation_command.add(commands, epilog=EPILOG)
    _add_settings(ablation)
    _add_settings(sweep.add(commands, epilog=EPILOG))
    _add_settings(banks.add_bank_study(commands, epilog=EPILOG))
    banks.add_blind_spots(commands, epilog=EPILOG)
    run = commands.add_parser(
        "run",
        help="run a run folder, from its last finished stage",
        epilog=EPILOG + " With --parent-pipe also 4: whoever started it is gone.",
    )
    run.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with run.json and images.csv")
    run.add_argument("--images", type=Path, metavar="DIR", help="where the manifest's files lie, if not in FOLDER")
    run.add_argument("--attempt", type=int, metavar="N", help="number of this attempt; an earlier one is refused")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where it runs, instead of what run.json says")
    run.add_argument("--parent-pipe", action="store_true", help="end at once when standard input closes")
    run.set_defaults(command=run_command)
    return parser


def _add_films(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder where the CSV's paths start")
    parser.add_argument(
        "--csv",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV with the column filename; label, patient_id and split are used where present",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """One option a setting, all None unless given."""
    add = parser.add_argument
    add("--preset", choices=PRESETS, help="values that all settings start from (default: default)")
    add(
        "--size",
        type=int,
        metavar="PX",
        help="side of the canonical image in pixels, a multiple of 32 or of a ViT's patch",
    )
    add("--detector", choices=tuple(DETECTORS), help="PatchCore, or a published detector on the same features")
    add(
        "--backbone", metavar="NAME", help=f"network that gives the patch features: {', '.join(BACKBONES)} or timm:NAME"
    )
    add(
        "--weights",
        metavar="imagenet|random|FILE",
        help="its weights: imagenet, imagenet-v2, dinov2 or a file; random is untrained, for trying out only",
    )
    add("--rate", type=float, metavar="S", help="share of patches kept in a memory bank (s), above 0 to 1")
    add("--neighbours", type=int, metavar="K", help="nearest bank vectors that a score is the mean over (K)")
    add("--distance", choices=("squared", "l2"), help="squared Euclidean distance (Eq. 1), or its root")
    add("--grid", type=int, metavar="N", help="cells along each side, each with a bank of its own (n)")
    add("--mask", action=argparse.BooleanOptionalAction, help="leave out patches that the mean film shows black")
    add("--align", choices=("none", "network"), help="whether films are aligned first")
    add("--fusion-weight", type=float, metavar="W", help="weight of the region map, 0 to 1; the rest is global")
    add("--seed", type=int, metavar="N", help="fixes every random draw")
    add("--device", choices=("auto", "cpu", "cuda"), help="where it runs; auto takes a GPU where there is one")
    add("--threads", type=int, metavar="N", help="CPU threads; the same number gives the same bytes")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any other setting by name, such as mask.keep=0.8 or alignment.epochs=10; may be repeated",
    )


OPTIONS = (
    "detector", "size", "backbone", "weights", "rate", "neighbours", "distance", "grid", "mask", "align",
    "fusion_weight", "seed", "device", "threads",
)  # fmt: skip
PLACES = ("device", "threads")  # where it runs, not what it computes


def configured(options: argparse.Namespace, base: PipelineConfig | None = None) -> PipelineConfig:
    """The config that the options ask for, from a preset or on top of ``base``. Raises InvalidConfig."""
    config = base or PipelineConfig.from_preset(options.preset or "default")
    return config.replace_fields(_texts(options))


def _texts(options: argparse.Namespace) -> dict[str, str]:
    """Every setting that is given, by name, as text; --set after the options of their own."""
    texts = {name: str(getattr(options, name)) for name in OPTIONS if getattr(options, name) is not None}
    for assignment in options.set:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidConfig(f"--set {assignment!r}: write FIELD=VALUE, such as mask.keep=0.8.")
        texts[name.strip().replace("-", "_")] = text
    return texts


def run_command(options: argparse.Namespace) -> int:
    if options.parent_pipe:
        end_with_parent()
    outcome = run_folder(
        options.folder,
        images=options.images,
        attempt=options.attempt,
        device=options.device,
        stdout=sys.stdout,
    )
    return close(outcome)


def fit_command(options: argparse.Namespace) -> int:
    config = configured(options)
    table = manifest.read_csv(options.csv)
    selection = manifest.for_fit(table, preset=config.preset, seed=config.seed)
    given = alignment_inputs.given_to_fit(options, config, [line["filename"] for line in table])
    manifest.check_parts(selection.rows, config)  # before the alignment, which may take hours
    networks.require(config)
    rows = manifest.with_hashes(selection.rows, options.images)
    out: Path = options.out
    console = Console()
    config = config.replace(weights=provide_weights(config.weights, config.backbone, console))
    tell_selection(selection, console)
    inputs = {}
    unreadable = 0
    if config.align == "network":
        extra = given.for_run(aligning_rows(rows))
        outcome = fit_alignment_first(out, config, rows, images=options.images, console=console, extra=extra)
        if outcome.status not in (OK, UNREADABLE):
            return close(outcome)
        part_is_align = any(row.part == "align" for row in rows)
        unreadable = outcome.unreadable if part_is_align else 0  # films of fit are counted below
        inputs["alignment"] = files.sha256_of(out / "alignment.safetensors")
    named = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    fitting = [row for row in rows if row.part != "align"]
    extra = given.for_detector(fitting)
    inputs |= alignment_inputs.hashes(extra)
    request = Request(kind="fit_detector", config=config, name="detector", inputs=inputs, weights=named)
    lay(out, request, fitting, with_labels=True)
    alignment_inputs.write(out, extra)
    if options.keep_features:
        (out / feature_store.FOLDER).mkdir(exist_ok=True)
    outcome = run_folder(out, images=options.images, listener=console.event)
    if outcome.status in (OK, UNREADABLE):
        tell_detector(files.read_json(out / "detector.json"), out, console)
        unreadable += outcome.unreadable
        outcome = Outcome(UNREADABLE if unreadable else OK, unreadable=unreadable)
    return close(outcome)


def aligning_rows(rows: list[manifest.Row]) -> list[manifest.Row]:
    """The films that an alignment is fitted on: those of align, or of fit where there are none."""
    part = "align" if any(row.part == "align" for row in rows) else "fit"
    return [row for row in rows if row.part == part]


def fit_alignment_first(
    out: Path,
    config: PipelineConfig,
    rows: list[manifest.Row],
    *,
    images: Path,
    console: Console,
    extra: dict[str, bytes],
) -> Outcome:
    """Fit the alignment that the run in ``out`` uses, in OUT/alignment-run, and put it among that run's inputs;
    ``extra`` are further inputs, by name."""
    if config.weights != weights.RANDOM and config.alignment.uses_network and config.alignment.perceptual > 0:
        provide_weights(weights.IMAGENET, "vgg19", console)
    aligning = aligning_rows(rows)
    request = Request(kind="fit_alignment", config=config, name="alignment", inputs=alignment_inputs.hashes(extra))
    lay(out / "alignment-run", request, aligning, with_labels=True)
    alignment_inputs.write(out / "alignment-run", extra)
    outcome = run_folder(out / "alignment-run", images=images, listener=console.event)
    if outcome.status in (OK, UNREADABLE):
        made = out / "alignment-run" / "alignment.safetensors"
        files.link_or_copy(made, out / "alignment.safetensors")
        files.link_or_copy(made, out / "inputs" / "alignment.safetensors")
    return outcome


def score_command(options: argparse.Namespace) -> int:
    model: Path = options.model
    if not (model / "detector.safetensors").is_file():
        raise EngineError(f"{model} holds no detector.safetensors: give the folder that fit made with --model.")
    detector = load_detector(model / "detector.safetensors")
    asked = _checked_against_model(options, detector.config)
    table = manifest.read_csv(options.csv)
    selection = manifest.for_score(table)
    given = alignment_inputs.given_to_score(options, detector.config, [line["filename"] for line in table])
    rows = manifest.with_hashes(selection.rows, options.images)
    console = Console()
    tell_selection(selection, console)
    out: Path = options.out
    inputs = {}
    for name in ("detector", "alignment") if detector.config.align == "network" else ("detector",):
        source = model / f"{name}.safetensors"
        if not source.is_file():
            raise EngineError(f"{model} holds no {name}.safetensors, which its detector needs: fit it again.")
        inputs[name] = files.sha256_of(source)
    models, extra = list(inputs), given.for_detector(rows)
    inputs |= alignment_inputs.hashes(extra)
    request = Request(
        kind="score",
        config=asked,
        name="scores",
        weights=detector.weights,
        inputs=inputs,
        fusion_weight=asked.fusion_weight if "fusion_weight" in _texts(options) else None,
    )
    lay(out, request, rows, with_labels=False)
    alignment_inputs.write(out, extra)
    for name in models:
        files.link_or_copy(model / f"{name}.safetensors", out / "inputs" / f"{name}.safetensors")
    outcome = run_folder(out, images=options.images, listener=console.event)
    if outcome.status in (OK, UNREADABLE):
        console.say(f"{len(rows)} films scored: {out / 'scores.csv'}")
    return close(outcome)


def explain_command(options: argparse.Namespace) -> int:
    if options.neighbours < 1:
        raise InvalidConfig(f"--neighbours is {options.neighbours}: it must be at least 1.")
    found = explain(
        options.model,
        options.film,
        patch=_patch(options.patch) if options.patch else None,
        neighbours=options.neighbours,
        images=options.images,
        device=options.device,
    )
    print(json.dumps(found.to_json(), indent=1))  # noqa: T201
    return OK


def _patch(text: str) -> tuple[int, int]:
    row, comma, column = text.partition(",")
    if not comma or not row.strip().isdecimal() or not column.strip().isdecimal():
        raise InvalidConfig(f"--patch is {text!r}: write ROW,COLUMN, such as 12,7.")
    return int(row), int(column)


def _checked_against_model(options: argparse.Namespace, made: PipelineConfig) -> PipelineConfig:
    """The model's config with the device and threads asked for. Raises InvalidConfig for any other change."""
    if options.preset not in (None, made.preset):
        raise InvalidConfig(f"preset is {options.preset}, but the model was fitted with {made.preset}: leave it out.")
    asked = configured(options, made)
    free = [*PLACES]
    if "fusion_weight" in _texts(options):
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


def provide_weights(name: str, architecture: str, console: Console) -> str:
    def progress(done: int, total: int) -> None:
        console.line(f"downloading the weights of {architecture}: {done >> 20} of {total >> 20} MiB")

    return weights.ensure(name, architecture, folder=weights.default_folder(), progress=progress)


def lay(path: Path, request: Request, rows: list[manifest.Row], *, with_labels: bool) -> None:
    """Write a run folder, or go on with the one that is there. Raises EngineError where that one is another run's."""
    path.mkdir(parents=True, exist_ok=True)
    wanted = request.to_json()
    if (path / "run.json").exists():
        there = _what_is_there(path)
        if there != wanted or manifest.read(path / "images.csv") != [_as_stored(row, with_labels) for row in rows]:
            raise EngineError(f"{path} already holds {_difference(there, wanted)}. Choose another --out, or delete it.")
        return
    manifest.write(path / "images.csv", rows, with_labels=with_labels)
    files.write_json(path / "run.json", wanted)


def _what_is_there(path: Path) -> dict[str, Any]:
    try:
        there = files.read_json(path / "run.json")
    except ValueError:
        there = None
    if not isinstance(there, dict):
        raise EngineError(f"{path} holds a run.json that cannot be read. Choose another --out, or delete it.")
    return there


def _as_stored(row: manifest.Row, with_labels: bool) -> manifest.Row:
    from dataclasses import replace

    return row if with_labels else replace(row, label="")


def _difference(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What distinguishes a run that is there from the one asked for, in words."""
    before, after = there.get("config", {}), wanted["config"]
    for name, value in after.items():
        if before.get(name) != value and name != "alignment":
            return f"a run with {name} = {before.get(name)}, and {value} was asked for"
    for name in ("kind", "code_version", "inputs", "weights", "config", "figures", "axes"):
        if there.get(name) != wanted.get(name):
            return f"a run with another {name.replace('_', ' ')}"
    return "a run of other films"
