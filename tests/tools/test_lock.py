"""The file of pinned versions."""

from __future__ import annotations

from pathlib import Path

from tools import lock


def test_versions_are_sorted_and_without_builds_and_the_project_itself(tmp_path: Path) -> None:
    versions = {"torch": "2.14.1+cpu", "Django": "5.2.19", "hilum": "0.1.0", "pip": "26.0", "celery": "5.6.0"}
    lock.write(versions, tmp_path / "constraints.txt")
    text = (tmp_path / "constraints.txt").read_text()
    assert text == lock.HEADER + "celery==5.6.0\nDjango==5.2.19\ntorch==2.14.1\n"


def test_this_environment_is_listed() -> None:
    assert {"django", "numpy", "pytest"} <= {name.lower() for name in lock.installed()}
