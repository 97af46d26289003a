"""merge: put the ranges of a run together, as the portal's workers do."""

from __future__ import annotations

import argparse
import sys

from ml_engine.command.console import report_outcome
from ml_engine.engine.merge_shards import merge_shards
from ml_engine.engine.run_folder import end_with_parent


def merge_command(options: argparse.Namespace) -> int:
    if options.parent_pipe:
        end_with_parent()
    outcome = merge_shards(
        options.folder,
        images=options.images,
        attempt=options.attempt,
        device=options.device,
        stdout=sys.stdout if options.parent_pipe else None,
    )
    return report_outcome(outcome)
