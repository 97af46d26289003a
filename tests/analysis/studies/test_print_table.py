"""A table goes to standard output, a refusal after the command's name to standard error."""

from __future__ import annotations

import pytest

from analysis.studies.print_table import print_table
from ml_engine.core.errors import EngineError


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_table("a.command", lambda: "| a |") == 0
    assert capsys.readouterr() == ("| a |\n", "")


def test_a_refusal_is_said_after_the_commands_name(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> str:
        raise EngineError("The folder is empty.")

    assert print_table("a.command", refused) == 2
    assert capsys.readouterr() == ("", "a.command: The folder is empty.\n")
