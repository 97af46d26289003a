"""The arguments of all commands, and what a process that only prints help or a usage error imports."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from ml_engine.command import parsers
from tests.paths import ROOT

HEAVY = {"torch", "torchvision", "numpy", "PIL", "openpyxl", "pydicom", "faiss", "django"}


def commands() -> dict[str, argparse.ArgumentParser]:
    actions: Any = parsers.parser()._subparsers._group_actions  # type: ignore[union-attr]
    return dict(actions[0].choices)


def imported(*arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run the command line in a fresh interpreter; with the modules of `HEAVY` that it imported."""
    code = (
        "import atexit, os, runpy, sys\n"
        "leave = os._exit\n"
        "def listed(status):\n"
        "    print('imported', *sorted({name.partition('.')[0] for name in sys.modules}), flush=True)\n"
        "    leave(status)\n"
        "os._exit = listed\n"
        f"sys.argv = ['ml_engine', *{list(arguments)!r}]\n"
        "runpy.run_module('ml_engine', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    *_, last = done.stdout.splitlines()
    assert last.startswith("imported "), done.stderr
    return done, set(last.split()) & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["fit", "--help"]])
def test_help_imports_no_library_and_writes_nothing_on_standard_error(arguments: list[str]) -> None:
    done, modules = imported(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m ml_engine" in done.stdout
    assert modules <= {"numpy"}


@pytest.mark.parametrize("arguments", [[], ["score"], ["score", "--rat", "1"], ["fit", "--preset", "none"], ["scroe"]])
def test_a_usage_error_imports_no_library_and_prints_only_its_sentence(arguments: list[str]) -> None:
    done, modules = imported(*arguments)

    assert done.returncode == 2
    assert modules <= {"numpy"}
    assert done.stderr.startswith("usage: python -m ml_engine")
    assert "error: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", commands())
def test_each_command_names_a_function_that_is_there(name: str) -> None:
    module, function = commands()[name].get_default("command").split(".")

    assert callable(getattr(import_module(f"ml_engine.command.{module}"), function))
