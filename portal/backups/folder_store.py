"""Backups in a folder: a disk of its own, or a mounted share."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from django.conf import settings

from portal.backups.problems import CannotBackUp

_UNFINISHED = ".part-"
_LOCK = "lock"


class FolderStore:
    at_once = 1

    def __init__(self, path: Path) -> None:
        self.path = self.scratch = path

    def __str__(self) -> str:
        return str(self.path)

    def require_apart(self) -> None:
        if self.path.resolve().is_relative_to(Path(settings.DATA_DIR)):
            raise CannotBackUp(f"{self} is in the data folder, and would be lost with it: choose another disk.")

    def is_empty(self) -> bool:
        return not self.path.exists() or all(path.name == _LOCK for path in self.path.iterdir())

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def names(self, folder: str) -> Iterator[str]:
        for _, _, names in os.walk(self.path / folder):
            yield from (name for name in names if not name.startswith(_UNFINISHED))

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    @contextmanager
    def unfinished(self) -> Iterator[IO[bytes]]:
        with NamedTemporaryFile(dir=self.path, prefix=_UNFINISHED, delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def finish(self, file: IO[bytes], name: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        path = self.path / name
        if not path.parent.is_dir():
            for folder in reversed(Path(name).parents[:-1]):
                (self.path / folder).mkdir(exist_ok=True, mode=0o700)
        os.replace(file.name, path)

    def settle(self) -> None:
        """The lock goes with its process and not before."""

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with claimed(self.path / _LOCK, f"Another backup is being written to {self}; wait for its end."):
            for left in self.path.rglob(f"{_UNFINISHED}*"):  # of a backup that was killed
                left.unlink(missing_ok=True)
            yield

    def unlock(self) -> None:
        """A process that was killed has left none."""


@contextmanager
def claimed(path: Path, refusal: str) -> Iterator[IO[str]]:
    """Hold a file that no other process may hold until the end of the block. Raises CannotBackUp."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotBackUp(refusal) from None
        yield file
