"""serve: keep the engine warm for scoring runs and nearest normals."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.serve import serve


def serve_command(options: argparse.Namespace) -> int:
    for name in ("idle", "memory"):
        value = getattr(options, name)
        if not 0 < value < 1e9:
            raise InvalidConfig(f"--{name} is {value:g}: it must be a number above 0.")
    return serve(
        stdout=private_stdout(),
        idle_seconds=options.idle,
        memory_limit_mib=options.memory,
        ends_with_parent=options.parent_pipe,
    )


def private_stdout() -> TextIO:
    """Standard output for the answers alone: what a library prints goes to standard error from now on."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own
