"""The arguments that the runner passes to pytest, and its last lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tools import run_tests


@pytest.fixture
def pytest_runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The arguments of each run of pytest, which are not executed."""
    runs: dict[str, list[str]] = {}

    def run_pytest(title: str, arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
        runs[environment["HILUM_TEST_DATABASE"]] = arguments
        return (1 if "sqlite" in environment.values() else 0), "3 passed in 1.00s"

    monkeypatch.setattr(run_tests, "run_pytest", run_pytest)
    return runs


def test_the_whole_suite_prints_its_slowest_on_both_databases(
    pytest_runs: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_tests.py"])
    assert run_tests.main() == 1
    assert {database: "--durations=20" in arguments for database, arguments in pytest_runs.items()} == {
        "postgresql": True,
        "sqlite": True,
    }
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "PostgreSQL: passed, exit status 0",
        "3 passed in 1.00s",
        "SQLite: failed, exit status 1",
        "3 passed in 1.00s",
    ]


def test_arguments_are_passed_to_pytest(pytest_runs: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run_tests.py", "-k", "viewer"])
    assert run_tests.main() == 0
    assert pytest_runs == {"postgresql": ["-k", "viewer"]}


def test_the_quick_tests_are_some_folders_without_what_is_slow(
    pytest_runs: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_tests.py", "--quick", "-x"])
    assert run_tests.main() == 0
    assert pytest_runs.keys() == {"postgresql"}
    arguments = pytest_runs["postgresql"]
    assert "not slow and not browser" in arguments
    assert arguments[-1] == "-x"
    assert [path for path in run_tests.QUICK_PATHS if not (ROOT / path).exists()] == []


@pytest.mark.slow
def test_modules_are_compiled_once_for_all_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    shown = tmp_path / "test_shown.py"
    shown.write_text(
        "import os, sys\ndef test_shown():\n    assert 'PYTHONDONTWRITEBYTECODE' not in os.environ\n", encoding="utf-8"
    )
    status, line = run_tests.run_pytest("One", ["-q", "-p", "no:cacheprovider", "-n0", str(shown)], {})
    assert (status, "1 passed" in line) == (0, True)
