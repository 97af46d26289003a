"""The command line: one module per command, and ``run``, which the portal's workers use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ml_engine.command import ablation, banks, explain, fit, fit_head, grow_and_forget, repeat, score, sweep
from ml_engine.command.console import report_outcome
from ml_engine.core.errors import EngineError
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_folder import end_with_parent
from ml_engine.engine.stages.runner import run_folder

EPILOG = "Exit status: 0 done, 1 a bug (see log.txt), 2 refused with a sentence, 3 done but some films are unreadable."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except EngineError as refusal:
        print(f"ml_engine: {refusal}", file=sys.stderr)  # noqa: T201
        return ExitStatus.REFUSED
    except OSError as problem:  # a path that is not a folder, is not writable, or is on a full disk
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"ml_engine: {where}{problem.strerror or problem}. Check the paths.", file=sys.stderr)  # noqa: T201
        return ExitStatus.REFUSED
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
    fit.add(commands, epilog=EPILOG)
    score.add(commands, epilog=EPILOG)
    fit_head.add(commands, epilog=EPILOG)
    explain.add(commands, epilog=EPILOG)
    grow_and_forget.add(commands, epilog=EPILOG)
    repeat.add(commands, epilog=EPILOG)
    ablation.add(commands, epilog=EPILOG)
    sweep.add(commands, epilog=EPILOG)
    banks.add_bank_study(commands, epilog=EPILOG)
    banks.add_blind_spots(commands, epilog=EPILOG)
    run = commands.add_parser(
        "run",
        help="run the unfinished stages of a run folder",
        epilog=EPILOG + " With --parent-pipe also 4: the starting process has ended.",
    )
    run.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with run.json and images.csv")
    run.add_argument("--images", type=Path, metavar="DIR", help="folder of the manifest's files, if not FOLDER")
    run.add_argument("--attempt", type=int, metavar="N", help="number of this attempt; an earlier one is refused")
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), help="device, instead of the one in run.json")
    run.add_argument("--parent-pipe", action="store_true", help="end at once when standard input closes")
    run.set_defaults(command=run_command)
    return parser


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
    return report_outcome(outcome)
