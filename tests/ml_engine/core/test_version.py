"""Which code made a result."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from ml_engine.core import version
from tests.paths import ROOT


def test_the_environment_says_it_where_there_is_no_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_CODE_VERSION", "1.2.3+image")
    assert version.code_version.__wrapped__() == "1.2.3+image"


def test_else_it_is_the_package_and_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HILUM_CODE_VERSION", raising=False)
    head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True).stdout.strip() if (ROOT / ".git").exists() else ""
    release, _, short = version.code_version.__wrapped__().partition("+")
    assert release == metadata.version("hilum")
    assert commit.startswith(short) and len(short) == (12 if commit else 0)


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert version._git_commit(tmp_path) == ""
