"""The memory of a run: it is kept within memory_gib, and refused where it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_folder import MemoryBudget, OverBudget
from tests.ml_engine import films
from tests.paths import ROOT


def fit(folder: Path, out: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """A fit in a fresh process."""
    chosen = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "ml_engine", "fit", "--images", folder, "--csv", folder / "labels.csv"]
    return subprocess.run(
        [*map(str, command), "--out", str(out), *films.UNALIGNED, *chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def peak_gib(out: Path) -> float:
    """The process's VmHWM, which the kernel keeps, at its last event."""
    events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return max(event["memory_mib"] for event in events if "memory_mib" in event) / 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    films.write_set(folder, train=40, test=0)
    return folder


def test_a_fit_keeps_its_budget(folder: Path, tmp_path: Path) -> None:
    done = fit(folder, tmp_path / "out", "memory_gib=1.25")

    assert done.returncode == ExitStatus.DONE, done.stderr
    assert 0.1 < peak_gib(tmp_path / "out") <= 1.25


def test_a_fit_that_needs_more_than_its_budget_is_refused(folder: Path, tmp_path: Path) -> None:
    done = fit(folder, tmp_path / "out", "memory_gib=0.05")

    assert done.returncode == ExitStatus.REFUSED
    assert "and memory_gib is 0.05: raise memory_gib, or choose" in done.stderr
    assert not (tmp_path / "out" / "detector.safetensors").exists()


def test_a_fit_that_its_budget_stopped_goes_on_in_its_folder_with_more(folder: Path, tmp_path: Path) -> None:
    """As the sentence advises; the folder was refused as one of another run."""
    assert fit(folder, tmp_path / "out", "memory_gib=0.05").returncode == ExitStatus.REFUSED

    again = fit(folder, tmp_path / "out", "memory_gib=4")

    assert again.returncode == ExitStatus.DONE, again.stderr
    assert json.loads((tmp_path / "out" / "run.json").read_text())["config"]["memory_gib"] == 4
    other = fit(folder, tmp_path / "out", "memory_gib=5", "seed=3")
    assert other.returncode == ExitStatus.REFUSED
    assert "already holds a run with seed = 0, and 3 was requested" in other.stderr


def test_a_budget_is_checked_against_the_peak_of_this_process() -> None:
    MemoryBudget(1000.0).check("films")
    with pytest.raises(OverBudget, match=r"has used \d.* GiB of memory in the stage films, and memory_gib is 0\.01"):
        MemoryBudget(0.01).check("films")
