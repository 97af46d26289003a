"""A migrated database without rows, kept between runs of the tests.

Applying all migrations to an empty database takes 20 seconds, and each process of the tests needs a database. The first
process migrates. The result is kept in .pytest_cache, under a name that changes with the migrations, and is copied from
then on. `migrate` runs on the copy too, where it has nothing left to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tests.paths import ROOT

KEPT = ROOT / ".pytest_cache" / "migrated"
APPS = ("portal", "ml_engine", "analysis")


def what_migrates() -> bytes:
    """Hash of everything that a migrated database follows from."""
    files = [*(path for app in APPS for path in sorted((ROOT / app / "migrations").glob("*.py")))]
    files.append(ROOT / "portal" / "triggers.py")
    named = [str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() for path in files]
    packages = [f"{name} {version(name)}".encode() for name in ("Django", "djangorestframework", "django-allauth")]
    return hashlib.sha256(b"\0".join([*named, *packages])).digest()


def migrate(url: str) -> None:
    """Apply all migrations to the database of this URL, in a process of its own."""
    with tempfile.TemporaryDirectory() as data:
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "HILUM_DATA_DIR": data},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(f"The tests' database cannot be migrated:\n{done.stderr[-2000:]}")


def copy_migrated(kind: str, target: Path, make: Callable[[Path], None]) -> None:
    """Copy the kept file or folder to `target`; where there is none that fits, `make` it at the path it is given."""
    name = hashlib.sha256(what_migrates() + kind.encode()).hexdigest()[:16]
    with _one_at_a_time(KEPT / f"{kind.split()[0]}.lock"):
        kept = KEPT / f"{kind.split()[0]}-{name}"
        if not kept.exists():
            for old in KEPT.glob(f"{kind.split()[0]}-*"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            with tempfile.TemporaryDirectory(dir=KEPT) as unfinished:
                make(Path(unfinished) / kept.name)
                (Path(unfinished) / kept.name).rename(kept)
        if kept.is_dir():
            shutil.copytree(kept, target, symlinks=True)
        else:
            shutil.copy(kept, target)


@contextmanager
def _one_at_a_time(lock: Path) -> Generator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
