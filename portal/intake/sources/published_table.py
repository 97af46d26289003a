"""Tables as they were published: comma-separated, perhaps packed with gzip, of any length. They are read as a stream: a
table of 160,000 reports has over 100 MB."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from portal.intake.tables import InvalidCsv, clean, value_of

ENDINGS = (".csv", ".csv.gz", ".txt", ".json")
_GZIP = b"\x1f\x8b"
LARGEST = 2 * 2**30  # bytes, unpacked
_LONGEST_LINE = 2**20  # characters


@dataclass(frozen=True)
class PublishedTable:
    name: str
    path: Path
    header: tuple[str, ...]

    def rows(self) -> Iterator[Mapping[str, str]]:
        """Yield column -> value for every row that is not blank, an empty text where it is cut off. Raises
        InvalidCsv."""
        none = dict.fromkeys(self.header, "")
        with _opened(self.path) as text:
            lines = csv.reader(_Bounded(text, self.name))
            next(lines, None)
            for cells in _checked(lines, self.name):
                if any(cells):
                    yield none | dict(zip(self.header, map(value_of, cells), strict=False))

    def lines(self) -> Iterator[str]:
        """The lines of a list without a header."""
        with _opened(self.path) as text:
            yield from (line.strip() for line in _Bounded(text, self.name) if line.strip())

    def read(self) -> str:
        """The whole text of a small file. Raises InvalidCsv."""
        with _opened(self.path) as text:
            return "".join(_Bounded(text, self.name))


def open_published(path: Path, name: str) -> PublishedTable:
    """Raises InvalidCsv where the file is no text."""
    with _opened(path) as text:
        first = next(iter(_Bounded(text, name)), "")
        header = next(_checked(csv.reader([first]), name), [])
    return PublishedTable(name, path, tuple(clean(column) for column in header))


def _checked(lines: Iterator[list[str]], name: str) -> Iterator[list[str]]:
    try:
        yield from lines
    except csv.Error as error:
        raise InvalidCsv(f"{name} is not valid CSV ({error}); copy or download it again.") from error


class _Bounded:
    """The lines of a text, which is given up where it is longer than a table can be."""

    def __init__(self, text: TextIO, name: str) -> None:
        self._text, self._name, self._read = text, name, 0

    def __iter__(self) -> _Bounded:
        return self

    def __next__(self) -> str:
        try:
            line = self._text.readline(_LONGEST_LINE)
        except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
            raise InvalidCsv(f"{self._name} is damaged or no text; copy or download it again.") from error
        self._read += len(line)
        if self._read > LARGEST:
            raise InvalidCsv(f"{self._name} is longer than {LARGEST / 2**30:g} GiB; this is no published table.")
        if not line:
            raise StopIteration
        return line.replace("\0", "")


def _opened(path: Path) -> TextIO:
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
    if is_packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
