"""The version of the code that made a result."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

FORMAT = 1  # of run.json and of the model files; increased when older code would misinterpret them


@cache
def code_version() -> str:
    """The package version and, in a git checkout, the commit: ``0.1.0+1a2b3c4d5e6f``.

    HILUM_CODE_VERSION replaces it where there is no git checkout, as in a container image.
    """
    if fixed := os.environ.get("HILUM_CODE_VERSION"):
        return fixed
    try:
        version = metadata.version("hilum")
    except metadata.PackageNotFoundError:
        version = "0"
    commit = _git_commit(Path(__file__).resolve().parents[2])
    return f"{version}+{commit}" if commit else version


def _git_commit(checkout: Path) -> str:
    if not (checkout / ".git").exists():
        return ""
    try:
        process = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""
