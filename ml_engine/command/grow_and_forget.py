"""grow and forget: a detector with more normal films, or without a patient."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_engine.command.console import Console, print_detector, print_selection, report_outcome
from ml_engine.engine import grow_and_forget, manifest
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import DetectorReport


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
