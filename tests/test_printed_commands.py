"""The shell lines of the documentation: each is parsed by the command that it calls, so that none names an option, a
command or a target that does not exist."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError

from ml_engine.command.parsers import parser as engine_parser
from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = r"(?:\.venv(?:-bench)?/bin/)?python3?"
CALL = rf"(?:{PYTHON} )?(?:-m [\w.]+|manage\.py|make|pip)\b"


def shell_lines(text: str) -> list[str]:
    """The lines of indented blocks that call something, with their continuations, and the calls in code spans."""
    joined = re.sub(r"\\\n\s*", "", text)
    blocks = re.findall(rf"^    ((?:{PYTHON} |make |pip |\.venv/bin/pip ).*)$", joined, re.MULTILINE)
    spans = re.findall(rf"`({CALL}[^`\n]*)`", joined)
    return [*blocks, *(span for span in spans if len(span.split()) > 1)]


LINES = [(page.name, line) for page in PAGES for line in shell_lines(page.read_text(encoding="utf-8"))]


def words_of(line: str) -> list[str]:
    """The words without what is optional, in square brackets apart from those in quotation marks, and without a
    comment."""
    return shlex.split(re.sub(r"(?<![\"'\w.])\[[^\]]*\]", "", line), comments=True)


def fault_of(line: str) -> str:
    """What is wrong with the line; empty if nothing is."""
    words = words_of(line)
    if words[:2] == ["python3", "install.py"]:  # of a bundle, on a host where there is no environment yet
        return "" if len(words) == 3 and (ROOT / "tools" / "install_bundle.py").is_file() else "takes one folder"
    if re.fullmatch(PYTHON, words[0]):
        if not words[0].startswith((".venv/", ".venv-bench/")) and not line.startswith("python -m"):
            return "does not name the environment"
        words = words[1:]
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "" if words[1] in targets else f"no target {words[1]}"
    if words[0] == "manage.py":
        return _fault_of_management_command(words[1:])
    if words[:2] == ["-m", "ml_engine"]:
        return _fault_of_arguments(engine_parser(), words[2:] if len(words) > 3 else [*words[2:], "--help"])
    if words[0] == "-m":
        return "" if importlib.util.find_spec(words[1]) else f"no module {words[1]}"
    if words[0].endswith("pip"):
        return "" if not any("@ ." in word for word in words) else "pip takes no path after @"
    return "unknown"


def _fault_of_management_command(words: list[str]) -> str:
    name, *arguments = words
    app = get_commands().get(name)
    if app is None:
        return f"no command {name}"
    command = app if isinstance(app, BaseCommand) else load_command_class(app, name)
    try:
        command.create_parser("manage.py", name).parse_args(arguments or ["--help"])
    except CommandError as error:
        return str(error)
    except SystemExit as error:
        return "" if error.code == 0 else "refused"
    return ""


def _fault_of_arguments(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """A command that is only named is asked for its help."""
    try:
        parser.parse_args(words)
    except SystemExit as error:
        return "" if error.code == 0 else "refused"
    return ""


@pytest.mark.parametrize(("name_of_page", "line"), LINES)
def test_a_printed_command_is_accepted(name_of_page: str, line: str) -> None:
    assert fault_of(line) == "", name_of_page


def test_lines_of_each_kind_are_seen() -> None:
    lines = " ".join(line for _, line in LINES)
    assert len(LINES) > 40
    assert all(word in lines for word in ("manage.py", "ml_engine fit", "analysis.", "benchmarks.", "make ", "pip "))


@pytest.mark.parametrize(
    "line",
    [
        ".venv/bin/python -m ml_engine fit --imagess DIR --csv FILE --out OUT",
        ".venv/bin/python -m ml_engine no_command",
        ".venv/bin/python -m benchmarks.none",
        ".venv/bin/python manage.py no_command",
        ".venv/bin/python manage.py import_images DIR --sites X",
        "python manage.py start",
        "make nothing",
        'pip install "hilum[cpu] @ ."',
    ],
)
def test_each_kind_of_fault_is_noticed(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fault_of(line)


def test_optional_parts_continuations_and_comments_are_left_out() -> None:
    text = "    .venv/bin/python -m ml_engine forget --model M \\\n        --patient ID --out NEW [--seed N]  # again\n"
    (line,) = shell_lines(text)
    assert words_of(line)[1:] == ["-m", "ml_engine", "forget", "--model", "M", "--patient", "ID", "--out", "NEW"]


def test_the_readme_runs_nothing_outside_the_environment() -> None:
    outside = [
        line for line in shell_lines(Path(ROOT / "README.md").read_text()) if line.startswith(("python ", "pip"))
    ]
    assert outside == []
