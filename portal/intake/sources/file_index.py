"""The files of a published dataset by the end of their path, which tells them apart. A path is kept as its folder,
which many files share: an index of 160,000 files needs little memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from portal.intake.entries import NamedFile, is_clutter
from portal.intake.sources.published_table import ENDINGS

_FILES_BETWEEN_BEATS = 1000


class FileIndex:
    """`parts`: how many parts at the end of a path tell a file from all others."""

    def __init__(self, files: Iterable[NamedFile], *, parts: int) -> None:
        self._parts = parts
        self._files: dict[str, str | tuple[str, str]] = {}  # end of the path -> folder, or folder and name on the disk
        self._twice: set[str] = set()
        folders: dict[str, str] = {}
        for file in files:
            end, name = self._end(file.name), file.path.name
            folder = os.fspath(file.path.parent)
            folder = folders.setdefault(folder, folder)
            if end in self._files:
                self._twice.add(end)
            self._files[end] = folder if end.endswith(name) else (folder, name)

    def __len__(self) -> int:
        return len(self._files)

    def path_of(self, name: str) -> Path | None:
        """The file that a table names; None if there is none, or several."""
        end = self._end(name)
        place = self._files.get(end)
        if place is None or end in self._twice:
            return None
        folder, on_disk = (place, PurePosixPath(end).name) if isinstance(place, str) else place
        return Path(folder, on_disk)

    def is_ambiguous(self, name: str) -> bool:
        return self._end(name) in self._twice

    def _end(self, name: str) -> str:
        return "/".join(PurePosixPath(name).parts[-self._parts :])


def files_of_folder(folder: Path, *, beat: Callable[[], None] = lambda: None) -> Iterator[NamedFile]:
    """The files below the folder, without links, in a stable order."""
    number = 0
    for above, below, names in os.walk(folder):
        below.sort()
        for name in sorted(names):
            path = Path(above, name)
            number += 1
            if number % _FILES_BETWEEN_BEATS == 0:
                beat()
            inside = path.relative_to(folder).as_posix()
            if not is_clutter(inside) and path.is_file() and not path.is_symlink():
                yield NamedFile(inside, path)


def is_published_table(name: str) -> bool:
    return name.lower().endswith(ENDINGS)
