"""A user's CSV of landmarks: one line per landmark, in original pixels."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_engine.core.alignment.landmarks import InvalidLandmarks
from ml_engine.engine.manifest import ManifestRow

COLUMNS = ("filename", "name", "x", "y")


@dataclass(frozen=True)
class Mark:
    """A landmark of a film, identified by file name or image id; (x, y) in original pixels."""

    film: str
    name: str
    x: float
    y: float
    line: int = 0


def read(path: Path) -> list[Mark]:
    """The landmarks of a CSV with the columns filename (or image), name, x and y, in the order of the file.

    UTF-8 with or without a byte order mark; comma, semicolon or tab. Raises InvalidLandmarks with the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InvalidLandmarks(f"{path} is not a readable UTF-8 text file: check --landmarks.") from None
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    film = next((columns[name] for name in ("filename", "image") if name in columns), None)
    missing = [name for name in COLUMNS[1:] if name not in columns]
    if film is None or missing:
        raise InvalidLandmarks(
            f"{path.name} has no column {'filename' if film is None else missing[0]}: it needs filename (or image), "
            "name, x and y."
        )
    marks, seen = [], dict[tuple[str, str], int]()
    for cells in reader:
        mark = _parse_mark([cells[film], *(cells[columns[name]] for name in COLUMNS[1:])], reader.line_num, path.name)
        first = seen.setdefault((mark.film, mark.name), mark.line)
        if first != mark.line:
            raise InvalidLandmarks(
                f"Lines {first} and {mark.line} of {path.name} both hold the landmark {mark.name} of one film: "
                "delete one line."
            )
        marks.append(mark)
    if not marks:
        raise InvalidLandmarks(f"{path.name} holds no landmarks: it needs one line per landmark.")
    return marks


def _parse_mark(cells: Sequence[str | None], line: int, name: str) -> Mark:
    film, mark, *at = ((cell or "").strip() for cell in cells)
    if not film or not mark:
        raise InvalidLandmarks(f"Line {line} of {name} has no {'name' if film else 'filename'}: fill it in.")
    x, y = (_parse_number(text, line, name) for text in at)
    return Mark(film, mark, x, y, line)


def _parse_number(text: str, line: int, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidLandmarks(
            f"Line {line} of {name} has {text[:20]!r} for a coordinate: write x and y as numbers of original pixels."
        )
    return value


def by_row(marks: Sequence[Mark], rows: Sequence[ManifestRow]) -> list[list[Mark]]:
    """The landmarks of each row of a manifest. Raises InvalidLandmarks for a film that is not in it."""
    at = {row.filename: k for k, row in enumerate(rows)}
    at |= {row.image: k for k, row in enumerate(rows) if row.image and row.image not in at}
    of_rows: list[list[Mark]] = [[] for _ in rows]
    for mark in marks:
        if mark.film not in at:
            where = f"Line {mark.line} of the landmarks names" if mark.line else "The landmarks name"
            raise InvalidLandmarks(
                f"{where} the film {mark.film[:80]!r}, which is not among the {len(rows)} films: write filename as "
                "in the CSV of films."
            )
        of_rows[at[mark.film]].append(mark)
    return of_rows


def text_of(marks: Sequence[Mark], rows: Sequence[ManifestRow]) -> bytes:
    """The content of ``landmarks.csv`` for a run of these rows: their landmarks, in the order of the rows."""
    names = {row.filename: row.filename for row in rows} | {row.image: row.filename for row in rows if row.image}
    order = {row.filename: k for k, row in enumerate(rows)}
    kept = sorted((mark for mark in marks if mark.film in names), key=lambda mark: order[names[mark.film]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([names[mark.film], mark.name, repr(mark.x), repr(mark.y)] for mark in kept)
    return text.getvalue().encode()
