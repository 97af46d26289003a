"""grow and forget: a detector with more normal films, or without a patient."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ml_engine.command.console import Console, print_detector, print_selection, report_outcome
from ml_engine.engine import grow_and_forget, manifest
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import DetectorReport


def add(commands: Any, *, epilog: str) -> None:
    """Add the two commands to the parser."""
    grow = commands.add_parser(
        "grow",
        help="fit a detector again with more normal films",
        epilog=epilog + " The normal films of the CSV with split fit or train, or all normal films if it has no column "
        "split, join the fit part.",
    )
    grow.add_argument("--images", type=Path, required=True, metavar="DIR", help="base folder of the CSV's paths")
    grow.add_argument("--csv", type=Path, required=True, metavar="FILE", help="the new films, in the CSV format of fit")
    _add_folders(grow)
    grow.set_defaults(command=grow_command)
    forget = commands.add_parser("forget", help="fit a detector again without a patient", epilog=epilog)
    forget.add_argument(
        "--patient", required=True, metavar="ID", help="the patient, as in the column patient of images.csv"
    )
    _add_folders(forget)
    forget.set_defaults(command=forget_command)


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, metavar="MODEL_DIR", help="folder that fit wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="NEW_DIR", help="folder of the new model")
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="change the existing banks, for a model without features; the result differs from a fresh fit",
    )


def grow_command(options: argparse.Namespace) -> int:
    console = Console()
    selection = manifest.for_fit(manifest.read_csv(options.csv), preset="paper", seed=0)
    print_selection(selection, console)
    new = manifest.with_hashes([row for row in selection.rows if row.part == "fit"], options.images)
    outcome = grow_and_forget.grow(
        grow_and_forget.open_model(options.model),
        new,
        images=options.images,
        out=options.out,
        approximate=options.approximate,
        listener=console.event,
    )
    return _report(outcome, options.out, console)


def forget_command(options: argparse.Namespace) -> int:
    console = Console()
    model = grow_and_forget.open_model(options.model)
    outcome = grow_and_forget.forget(
        model, options.patient, out=options.out, approximate=options.approximate, listener=console.event
    )
    status = _report(outcome, options.out, console)
    if status in (ExitStatus.DONE, ExitStatus.UNREADABLE):
        console.say(f"{options.model} still holds results of that patient's films: delete it to remove them.")
        if model.spec.config.align == "network":
            console.say("The alignment is unchanged: it may have been fitted with that patient's films.")
    return status


def _report(outcome: Outcome, out: Path, console: Console) -> int:
    if outcome.has_results:
        report = DetectorReport.read(out)
        print_detector(report, out, console)
        if report.note:
            console.say(report.note)
    return report_outcome(outcome)
