"""Shared by the commands that print the table of a finished study."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from tabulate import tabulate

from ml_engine.core.errors import EngineError
from ml_engine.engine.outcome import ExitStatus


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded columns, readable in a terminal too. Texts are not changed; a row may be shorter
    than the headings."""
    filled = [[*row, *[""] * (len(headings) - len(row))] for row in rows]
    return tabulate(filled, headings, tablefmt="github", disable_numparse=True)


def refusals(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Lines under the table: one for each (name, reason) whose reason of refusal is not blank."""
    return [f"{name} was refused: {reason}" for name, reason in reasons if reason]


def print_table(command: str, text: Callable[[], str]) -> int:
    """Write the text to stdout, or the reason of a refusal to stderr. Returns the exit status."""
    try:
        words = text()
    except EngineError as refusal:
        sys.stderr.write(f"{command}: {refusal}\n")
        return ExitStatus.REFUSED
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{command}: stopped.\n")
        return 130
    sys.stdout.write(words + "\n")
    return ExitStatus.DONE
