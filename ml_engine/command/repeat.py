"""repeat: run a run folder again, elsewhere or later, and compare film by film."""

from __future__ import annotations

import argparse

from ml_engine.command.console import Console, report_outcome
from ml_engine.core import files
from ml_engine.engine import repeat
from ml_engine.engine.outcome import ExitStatus


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
