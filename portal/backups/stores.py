"""Where the files of a folder of backups lie: in a folder of a disk, or in a bucket of an S3 service."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from portal.backups.bucket_store import BucketStore
from portal.backups.folder_store import FolderStore
from portal.backups.problems import CannotBackUp
from portal.intake.encrypted_files import Readable

_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._/-]*))?")


class Store(Protocol):
    """Files under names such as manifests/2026-11-30T03-00-00Z. A file appears when it is whole, in the place of an
    earlier one. Its address, as it was typed, is its `str`. A bucket that does not answer, or refuses, raises
    CannotBackUp; a folder OSError.

    `scratch`: a folder for temporary files. `at_once`: how many files are best read at the same time.
    """

    scratch: Path
    at_once: int

    def require_apart(self) -> None:
        """Raises CannotBackUp where the backups would be lost with what they are backups of."""

    def is_empty(self) -> bool: ...

    def has(self, name: str) -> bool: ...

    def names(self, folder: str) -> Iterator[str]:
        """The last parts of the names of all files in the folder and below."""

    def open(self, name: str) -> AbstractContextManager[Readable]:
        """Raises FileNotFoundError."""

    def unfinished(self) -> AbstractContextManager[IO[bytes]]:
        """A file to write to; it is gone at the end of the block, unless it was given to `finish`."""

    def finish(self, file: IO[bytes], name: str) -> None:
        """Let a file of `unfinished` appear under the name, by the next `settle` at the latest."""

    def settle(self) -> None:
        """Wait until all that was given to `finish` is there; afterwards this process has to hold the lock still, or
        CannotBackUp is raised."""

    def remove(self, name: str) -> None: ...

    def locked(self) -> AbstractContextManager[None]:
        """Raises CannotBackUp where another process writes to it."""

    def unlock(self) -> None:
        """Remove a lock that a process left that was killed."""


def open_store(address: str) -> Store:
    """Raises CannotBackUp."""
    if match := _BUCKET.fullmatch(address):
        return BucketStore(match[1], (match[2] or "").strip("/"))
    if "://" in address:
        raise CannotBackUp(
            f"{address} is no place for backups; expected a folder, or a bucket such as s3://hilum-backups or "
            "s3://hilum-backups/ward."
        )
    return FolderStore(Path(address))


def read_file(store: Store, name: str) -> bytes:
    """Raises FileNotFoundError."""
    with store.open(name) as file:
        pieces = []
        while piece := file.read(2**20):
            pieces.append(piece)
        return b"".join(pieces)


def write_file(store: Store, name: str, content: bytes) -> None:
    with store.unfinished() as file:
        file.write(content)
        store.finish(file, name)
    store.settle()
