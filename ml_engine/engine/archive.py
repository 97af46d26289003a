"""A run folder as one zip: what `python -m ml_engine repeat` needs to run it elsewhere, and the results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

CHUNK = 2**20
LEFT_OUT = {"stages", "lock", "stderr.txt"}  # not needed elsewhere; the stages are run again


def members(folder: Path) -> list[Path]:
    """The files of the archive, sorted: run.json, the films, the inputs, the results and the log."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in paths if path.relative_to(folder).parts[0] not in LEFT_OUT)


def stream(folder: Path, *, name: str) -> Iterator[bytes]:
    """Yields the zip in pieces, so that it is never whole in memory or on disk. Its files are in the folder ``name``.

    Files are stored uncompressed: films are compressed already, and arrays of floats hardly shrink.
    """
    sink = _Sink()
    with ZipFile(cast(IO[bytes], sink), "w", ZIP_STORED) as archive:
        for path in members(folder):
            status = path.stat()
            when = time.localtime(max(status.st_mtime, 315_532_800))[:6]  # zip has no times before 1980
            entry = ZipInfo(f"{name}/{path.relative_to(folder).as_posix()}", when)
            entry.external_attr = 0o644 << 16
            entry.file_size = status.st_size
            with archive.open(entry, "w", force_zip64=True) as target, path.open("rb") as source:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield sink.take()
    yield sink.take()


class _Sink:
    """A write-only buffer that `take` empties. Since it has no seek, zipfile writes a file's size and checksum after
    its data."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self.kept.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing: there is no other buffer."""

    def take(self) -> bytes:
        data, self.kept = b"".join(self.kept), []
        return data
