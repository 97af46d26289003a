"""What the commands that print the table of a finished study have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ml_engine.core.errors import EngineError
from ml_engine.engine.outcome import ExitStatus


def print_table(command: str, text: Callable[[], str]) -> int:
    """Write the text to stdout, or after the command's name to stderr why there is none. Returns the exit status."""
    try:
        words = text()
    except EngineError as refusal:
        sys.stderr.write(f"{command}: {refusal}\n")
        return ExitStatus.REFUSED
    sys.stdout.write(words + "\n")
    return ExitStatus.DONE
