"""The arguments of all commands. Imports no torch, so that ``--help`` and a usage error answer at once.

Each parser sets ``command`` to the module of ``ml_engine.command`` and the function in it that run the command.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_engine.command.options import add_films, add_model, add_settings
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.stages.ablation import FIGURES
from ml_engine.engine.stages.sweep import AXES, MOST_EXPERIMENTS
from ml_engine.engine.study_plans import (
    CONTAMINATIONS,
    CONTRASTS,
    KEPT_NEIGHBOURS,
    KINDS,
    PENALTY_BY_FOLDS,
    SHARES,
    EmbeddingPlan,
)

EPILOG = "Exit status: 0 done, 1 a bug (see log.txt), 2 refused with a sentence, 3 done but some films are unreadable."


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="python -m ml_engine",
        description="Region- and global-specific PatchCore, without the portal.",
        epilog=EPILOG,
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_fit,
        _add_score,
        _add_merge,
        _add_fit_head,
        _add_explain,
        _add_grow_and_forget,
        _add_serve,
        _add_forecast,
        _add_repeat,
        _add_ablation,
        _add_sweep,
        _add_bank_study,
        _add_blind_spots,
        _add_embed,
        _add_run,
    ):
        add(commands, epilog=EPILOG)
    return whole


def _add_alignment_inputs(parser: argparse.ArgumentParser, *, canonical: bool) -> None:
    parser.add_argument("--landmarks", type=Path, metavar="FILE", help="CSV of landmarks: filename, name, x, y")
    if canonical:
        parser.add_argument(
            "--canonical", type=Path, metavar="FILE", help="canonical image: a gray PNG, or npy in 0..1"
        )


def _add_fit(commands: Any, *, epilog: str) -> None:
    fit = commands.add_parser("fit", help="fit an alignment and a detector on normal films", epilog=epilog)
    add_films(fit)
    fit.add_argument("--out", type=Path, required=True, metavar="MODEL_DIR", help="new folder for the model")
    fit.add_argument(
        "--keep-features",
        action="store_true",
        help="keep the films' features in MODEL_DIR/features (0.5 to 3 MB a film at 224 px) for exact grow and forget",
    )
    _add_alignment_inputs(fit, canonical=True)
    add_settings(fit)
    fit.set_defaults(command="fit.fit_command")


def _add_forecast(commands: Any, *, epilog: str) -> None:
    parser = commands.add_parser(
        "forecast",
        help="say how much memory, disk and time a fit, or with --model a score, takes on this machine",
        epilog=epilog + " What single steps cost is measured once, in some seconds, and kept in the data folder.",
    )
    add_films(parser)
    parser.add_argument("--model", type=Path, metavar="MODEL_DIR", help="forecast a score by this model, not a fit")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder whose disk is checked")
    parser.add_argument("--json", action="store_true", help="print JSON: seconds, memory_gib, disk_gib, stages")
    add_settings(parser)
    parser.set_defaults(command="forecast.forecast_command")


def _add_score(commands: Any, *, epilog: str) -> None:
    score = commands.add_parser(
        "score",
        help="score films with a fitted detector",
        epilog=epilog + " The settings of the method come with the model; a setting repeated here must be equal.",
    )
    add_films(score)
    add_model(score)
    score.add_argument("--out", type=Path, required=True, metavar="SCORES_DIR", help="new folder for the scores")
    _add_alignment_inputs(score, canonical=False)
    score.add_argument(
        "--range",
        metavar="A:B",
        help="score only the films A to B - 1 of those to score, counted from 0, into a folder inside SCORES_DIR; any "
        "machine may score any range, and merge joins them",
    )
    add_settings(score)
    score.set_defaults(command="score.score_command")


def _add_merge(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "merge",
        help="put the ranges that score --range scored together",
        epilog=epilog + " The bytes are those of one score of all films; the folders of the ranges are removed.",
    )
    parser.add_argument("folder", type=Path, metavar="SCORES_DIR", help="the --out of score --range")
    parser.add_argument("--images", type=Path, metavar="DIR", help="base folder of the CSV's paths, as for score")
    parser.add_argument("--attempt", type=int, metavar="N", help="number of this attempt; an earlier one is refused")
    parser.add_argument("--parent-pipe", action="store_true", help="end at once when standard input closes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="of a study: device, as for run")
    parser.set_defaults(command="merge.merge_command")


def _add_fit_head(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "fit_head",
        help="fit a semi-supervised head on films that people confirmed as abnormal",
        epilog=epilog + " OUT is a model for score, which writes the semi-supervised columns beside the others.",
    )
    add_films(
        parser,
        csv="CSV of the pool: filename, label (normal or abnormal where the film was read, otherwise empty); "
        "patient_id, weight, model_shown, site, scanner, view and period are used if present",
    )
    add_model(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="new folder for the head")
    parser.add_argument(
        "--penalty",
        default="100",
        metavar=f"LAMBDA|{PENALTY_BY_FOLDS}",
        help=f"penalty of the regression, 1 / C; {PENALTY_BY_FOLDS}: chosen by nested folds of patients (default: 100)",
    )
    parser.add_argument(
        "--read-normals", action="store_true", help="films read as normal join the known normals of the regression"
    )
    parser.add_argument(
        "--false-alarm-rate",
        type=float,
        metavar="RATE",
        help="operating point below which films of the pool count as normal for the control (default: the detector's)",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="R", help="draws of each point of the learning curve (default: 5)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="device to run on")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads; the same number gives the same bytes")
    parser.set_defaults(command="fit_head.fit_head_command")


def _add_explain(commands: Any, *, epilog: str) -> None:
    parser = commands.add_parser(
        "explain",
        help="list the normal patches that a patch of a film is compared with",
        epilog=epilog + " Prints one JSON object.",
    )
    add_model(parser)
    parser.add_argument("--film", type=Path, required=True, metavar="FILE", help="the film")
    parser.add_argument("--patch", metavar="ROW,COLUMN", help="the patch (default: the highest of the fused map)")
    parser.add_argument("--neighbours", type=int, default=5, metavar="K", help="nearest vectors per bank (default: 5)")
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the model's films, to add each neighbour's alignment"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="device to run on")
    parser.set_defaults(command="explain.explain_command")


def _add_grow_and_forget(commands: Any, *, epilog: str) -> None:
    grow = commands.add_parser(
        "grow",
        help="fit a detector again with more normal films",
        epilog=epilog + " The normal films of the CSV with split fit or train, or all normal films if it has no column "
        "split, join the fit part.",
    )
    grow.add_argument("--images", type=Path, required=True, metavar="DIR", help="base folder of the CSV's paths")
    grow.add_argument("--csv", type=Path, required=True, metavar="FILE", help="the new films, in the CSV format of fit")
    _add_folders(grow)
    grow.set_defaults(command="grow_and_forget.grow_command")
    forget = commands.add_parser("forget", help="fit a detector again without a patient", epilog=epilog)
    forget.add_argument(
        "--patient", required=True, metavar="ID", help="the patient, as in the column patient of images.csv"
    )
    _add_folders(forget)
    forget.set_defaults(command="grow_and_forget.forget_command")


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, metavar="MODEL_DIR", help="folder that fit wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="NEW_DIR", help="folder of the new model")
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="change the existing banks, for a model without features; the result differs from a fresh fit",
    )


def _add_serve(commands: Any, *, epilog: str) -> None:
    parser = commands.add_parser(
        "serve",
        help="keep models loaded, and answer requests for scoring runs and nearest normals",
        epilog=epilog
        + " One request a line on standard input, as JSON; answers on standard output. With --parent-pipe also 4: the "
        "starting process has ended.",
    )
    parser.add_argument(
        "--idle", type=float, default=600, metavar="SECONDS", help="end after this time without a request (600)"
    )
    parser.add_argument(
        "--memory",
        type=float,
        default=2048,
        metavar="MIB",
        help="resident memory above which models are dropped between two requests (2048)",
    )
    parser.add_argument("--parent-pipe", action="store_true", help="end at once when standard input closes")
    parser.set_defaults(command="serve.serve_command")


def _add_repeat(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "repeat",
        help="run a run folder again and compare the results film by film",
        epilog=epilog
        + f" {ExitStatus.DIFFERS:d}: done, and some film differs. comparison.csv in NEW has one line per film.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a finished run folder, such as an unpacked archive"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="NEW", help="new folder for the repetition")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the films, if not FOLDER")
    parser.set_defaults(command="repeat.repeat_command")


def _add_ablation(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "ablation",
        help="run the paper's experiments: aligned or not, masked or not, size, baselines",
        epilog=epilog + " The table with intervals: python -m analysis.ablation OUT --csv FILE.",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="base folder of the CSV's paths")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="CSV with filename, label and split, in the format of fit"
    )
    parser.add_argument("--phantoms", type=int, metavar="N", help="draw N phantom films in OUT/films and use those")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="new folder for the ablation")
    parser.add_argument(
        "--figures",
        default="12,13,14,15",
        metavar="LIST",
        help=f"figures to make, of {', '.join(FIGURES)}, joined by commas (default: 12,13,14,15); alignment is slowest",
    )
    add_settings(parser)
    parser.set_defaults(command="ablation.ablation_command")


def _add_sweep(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "sweep",
        help="fit and score a detector for each combination of settings, on shared features",
        epilog=epilog + " The table with intervals: python -m analysis.sweep OUT --csv FILE.",
    )
    add_films(parser, csv="CSV with filename, label and split, in the format of fit")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="new folder for the sweep")
    parser.add_argument(
        "--axis",
        action="append",
        default=[],
        metavar="FIELD=LIST",
        help=f"one of {', '.join(AXES)}, and its values, such as rate=0.01,0.1; may be repeated; at most "
        f"{MOST_EXPERIMENTS} detectors",
    )
    add_settings(parser)
    parser.set_defaults(command="sweep.sweep_command")


def _add_embed(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "embed",
        help="average each film's patch features, find its nearest films, and lay all films out in the plane",
        epilog=epilog + " Films are neither aligned nor masked; no label is used.",
    )
    add_films(parser, csv="CSV with the column filename")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="new folder for the map")
    plan = EmbeddingPlan()
    parser.add_argument(
        "--map-neighbours",
        type=int,
        default=plan.neighbours,
        metavar="K",
        help=f"nearest films that the layout keeps together, 2 to {KEPT_NEIGHBOURS} (default: {plan.neighbours})",
    )
    parser.add_argument(
        "--epochs", type=int, default=plan.epochs, metavar="N", help=f"rounds of the layout (default: {plan.epochs})"
    )
    add_settings(parser)
    parser.set_defaults(command="embed.embed_command")


def _add_bank_study(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "bank-study",
        help="score test with banks of fewer normal films, and of films with some abnormal ones",
        epilog=epilog + " The table with intervals: python -m analysis.studies.bank OUT --csv FILE.",
    )
    _add_study(parser)
    parser.add_argument("--shares", default=_joined(SHARES), metavar="LIST", help="shares of the fit films")
    parser.add_argument(
        "--contaminations", default=_joined(CONTAMINATIONS), metavar="LIST", help="shares of abnormal films in a bank"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="R", help="random draws of each share (default: 3)")
    parser.add_argument(
        "--alignment", type=Path, metavar="FILE", help="alignment.safetensors of a fit; by default one is fitted first"
    )
    add_settings(parser)
    parser.set_defaults(command="banks.bank_study_command")


def _add_blind_spots(commands: Any, *, epilog: str) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "blind-spots",
        help="paste lesions of known size and contrast into normal films, and score them",
        epilog=epilog + " The table with intervals: python -m analysis.studies.blind OUT.",
    )
    _add_study(parser)
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
    parser.set_defaults(command="banks.blind_spots_command")


def _add_study(parser: argparse.ArgumentParser) -> None:
    add_films(parser, csv="CSV with filename, label and split, in the format of fit")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="new folder for the study")


def _joined(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _add_run(commands: Any, *, epilog: str) -> None:
    run = commands.add_parser(
        "run",
        help="run the unfinished stages of a run folder",
        epilog=epilog + " With --parent-pipe also 4: the starting process has ended.",
    )
    run.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with run.json and images.csv")
    run.add_argument("--images", type=Path, metavar="DIR", help="folder of the manifest's files, if not FOLDER")
    run.add_argument("--attempt", type=int, metavar="N", help="number of this attempt; an earlier one is refused")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), help="device, instead of the one in run.json")
    run.add_argument("--parent-pipe", action="store_true", help="end at once when standard input closes")
    run.add_argument("--shared", action="store_true", help="of a study: only the stages that all of its cells need")
    run.set_defaults(command="run.run_command")
