"""Files that are named by their content, between those who store them and those who remove them.

A file is there before its row is, and may have been there for years when a second film, or a model of equal bytes,
wants the name. So whoever stores takes the lock together with others who store, and gives the file the present time;
whoever removes takes it alone, and looks for rows and at the time meanwhile.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings


class FileGone(Exception):
    """A file was removed between its writing and its row: what stores the row is to be done again."""


@contextmanager
def storing() -> Iterator[None]:
    """Nothing is removed meanwhile. Not for use inside `removing`."""
    with locked("stored-files", fcntl.LOCK_SH):
        yield


@contextmanager
def removing() -> Iterator[None]:
    """Nobody stores meanwhile. Not for use inside `storing`, which it would wait for."""
    with locked("stored-files"):
        yield


def renew(path: Path) -> bool:
    """Give the file the present time, so that the collector leaves it for its row to come. Returns whether it is
    there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def locked(name: str, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock of that name, which is one for all machines that share the data folder."""
    path = Path(settings.DATA_DIR) / "run" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield
