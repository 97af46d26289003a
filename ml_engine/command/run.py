"""run: the unfinished stages of a run folder, as the portal's workers start it."""

from __future__ import annotations

import argparse
import sys

from ml_engine.command.console import report_outcome
from ml_engine.engine.run_folder import end_with_parent
from ml_engine.engine.stages.runner import run_folder


def run_command(options: argparse.Namespace) -> int:
    if options.parent_pipe:
        end_with_parent()
    outcome = run_folder(
        options.folder,
        images=options.images,
        attempt=options.attempt,
        device=options.device,
        stdout=sys.stdout,
        only_shared=options.shared,
    )
    return report_outcome(outcome)
