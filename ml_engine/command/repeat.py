"""repeat: run a run folder again, elsewhere or later, and compare film by film."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ml_engine.command.console import Console, report_outcome
from ml_engine.core import files
from ml_engine.engine import repeat
from ml_engine.engine.outcome import ExitStatus


def add(commands: Any, *, epilog: str) -> None:
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
    parser.set_defaults(command=repeat_command)


def repeat_command(options: argparse.Namespace) -> int:
    console = Console()
    outcome = repeat.repeat(options.folder, options.out, images=options.images, listener=console.event)
    if not outcome.has_results:
        return report_outcome(outcome)
    comparisons = repeat.compare(options.folder, options.out)
    files.write_bytes(options.out / "comparison.csv", repeat.table(comparisons).encode())
    console.say(f"{repeat.summary(comparisons)}: {options.out / 'comparison.csv'}")
    differs = any(film.verdict == repeat.DIFFERENT for film in comparisons)
    return ExitStatus.DIFFERS if differs else report_outcome(outcome)
