"""The command line: parses the arguments, loads the command's module and runs it."""

from __future__ import annotations

import argparse
import errno
import gc
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from ml_engine.command import parsers
from ml_engine.core.errors import EngineError
from ml_engine.engine.outcome import ExitStatus


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Help and a usage error raise SystemExit."""
    options = parsers.parser().parse_args(arguments)
    try:
        return _load(options.command)(options)
    except EngineError as refusal:
        print(f"ml_engine: {refusal}", file=sys.stderr)  # noqa: T201
        return ExitStatus.REFUSED
    except OSError as problem:  # a path that is not a folder, is not writable, or is on a full disk
        where = f"{problem.filename}: " if problem.filename else ""
        from ml_engine.core.files import disk_problem  # imports NumPy, which --help does not need

        full = "" if problem.errno == errno.EACCES else disk_problem(problem)
        sentence = full or f"{problem.strerror or problem}. Check the paths."
        print(f"ml_engine: {where}{sentence}", file=sys.stderr)  # noqa: T201
        return ExitStatus.REFUSED
    except KeyboardInterrupt:
        print("\nml_engine: stopped.", file=sys.stderr)  # noqa: T201
        return 130


def _load(name: str) -> Callable[[argparse.Namespace], int]:
    """The function MODULE.FUNCTION of this package.

    Importing torch creates a million lasting objects: collecting among them would take half a second, and again at
    each later collection.
    """
    module, function = name.split(".")
    is_first = "torch" not in sys.modules
    if is_first:
        gc.disable()
    command: Callable[[argparse.Namespace], int] = getattr(import_module(f"ml_engine.command.{module}"), function)
    if is_first:
        gc.enable()
        gc.freeze()
    return command
