"""What the commands that print the table of a finished study have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from tabulate import tabulate

from ml_engine.core.errors import EngineError
from ml_engine.engine.outcome import ExitStatus


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns padded so that it reads well in a terminal too; the cells stay as they are. A
    row may end before its last columns."""
    filled = [[*row, *[""] * (len(headings) - len(row))] for row in rows]
    return tabulate(filled, headings, tablefmt="github", disable_numparse=True)


def refusals(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """A line under the table for each of its rows, by name, that has a reason why it was refused."""
    return [f"{name} was refused: {reason}" for name, reason in reasons if reason]


def print_table(command: str, text: Callable[[], str]) -> int:
    """Write the text to stdout, or after the command's name to stderr why there is none. Returns the exit status."""
    try:
        words = text()
    except EngineError as refusal:
        sys.stderr.write(f"{command}: {refusal}\n")
        return ExitStatus.REFUSED
    sys.stdout.write(words + "\n")
    return ExitStatus.DONE
