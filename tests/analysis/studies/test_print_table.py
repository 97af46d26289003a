"""Markdown tables: numbers as they were written, columns that line up, rows that end early. A table goes to standard
output, a refusal after the command's name to standard error."""

from __future__ import annotations

import pytest

from analysis.studies.print_table import markdown_table, print_table, refusals
from ml_engine.core.errors import EngineError


def test_numbers_keep_their_digits_and_columns_line_up() -> None:
    assert markdown_table(["cell", "w"], [["aligned", "0.10"], ["not", "1"]]).splitlines() == [
        "| cell    | w    |",
        "|---------|------|",
        "| aligned | 0.10 |",
        "| not     | 1    |",
    ]


def test_rows_that_end_early_keep_every_column() -> None:
    lines = markdown_table(["cell", "global", "region"], [["a", "refused"], ["b", "refused"]]).splitlines()
    assert {line.count("|") for line in lines} == {4}
    assert "global" in lines[0] and "region" in lines[0]


def test_a_refusal_is_a_line_under_the_table() -> None:
    assert refusals([("a", ""), ("b", "too large")]) == ["b was refused: too large"]


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_table("a.command", lambda: "| a |") == 0
    assert capsys.readouterr() == ("| a |\n", "")


def test_a_refusal_is_said_after_the_commands_name(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> str:
        raise EngineError("The folder is empty.")

    assert print_table("a.command", refused) == 2
    assert capsys.readouterr() == ("", "a.command: The folder is empty.\n")


def test_ctrl_c_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    assert print_table("a.command", interrupted) == 130
    assert capsys.readouterr() == ("", "\na.command: stopped.\n")
