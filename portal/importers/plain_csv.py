"""The plain CSV: filename, label, patient_id, projection, split, finding; further columns are kept.

A CSV is read whole and checked before anything is imported: a wrong value anywhere imports nothing.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LABELS = ("normal", "abnormal", "unsure", "exclude", "")
_KNOWN = ("filename", "label", "patient_id", "projection", "split", "finding")
_PROJECTIONS = ("PA", "AP", "LL", "RL", "LATERAL", "")
LARGEST_CSV = 200 * 2**20  # bytes
LONGEST_NAME = 255  # characters


class InvalidCsv(Exception):
    """A sentence for the user that names the line."""


@dataclass(frozen=True)
class CsvRow:
    filename: str
    label: str = ""
    patient_id: str = ""
    projection: str = ""
    split: str = ""
    findings: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    columns: frozenset[str] = frozenset(_KNOWN)  # those that the CSV has: it says nothing about the others


@dataclass(frozen=True)
class Box:
    """In original pixels; x, y is the upper left corner."""

    x: float
    y: float
    width: float
    height: float
    finding: str = ""

    def to_json(self) -> dict[str, float | str]:
        return {"x": self.x, "y": self.y, "width": self.width, "height": self.height, "finding": self.finding}


def read_labels(path: Path) -> dict[str, CsvRow]:
    """File name -> row. Raises InvalidCsv."""
    rows: dict[str, CsvRow] = {}
    for line, values in _lines(path, ("filename",)):
        row = _label_row(path, line, values)
        if row.filename in rows:
            raise InvalidCsv(f"{path.name}, line {line}: {row.filename!r} is named twice; keep one row for each file.")
        rows[row.filename] = row
    if not rows:
        raise InvalidCsv(f"{path.name} has no rows below its header; name at least one file.")
    return rows


def read_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """File name -> its boxes, in the order of the file. Raises InvalidCsv."""
    boxes: dict[str, tuple[Box, ...]] = {}
    for line, values in _lines(path, ("filename", "x", "y", "width", "height")):
        name = _filename(path, line, values["filename"])
        boxes[name] = (*boxes.get(name, ()), _box(path, line, values))
    return boxes


def read_columns(path: Path) -> list[str]:
    """The names in the first line, in lower case. Raises InvalidCsv."""
    text = _text(path)
    try:
        return [
            name.strip().lower() for name in next(csv.reader([text.split("\n", 1)[0]], delimiter=_delimiter(text)), [])
        ]
    except csv.Error as error:
        raise InvalidCsv(f"{path.name}, line 1: not readable as CSV ({error}).") from error


def _label_row(path: Path, line: int, values: Mapping[str, str]) -> CsvRow:
    label = values.get("label", "").lower()
    if label not in LABELS:
        raise InvalidCsv(
            f"{path.name}, line {line}: the label {values['label']!r} is unknown; "
            "write normal, abnormal, unsure or exclude, or leave it empty."
        )
    findings = tuple(part.strip() for part in values.get("finding", "").split("|") if part.strip())
    return CsvRow(
        filename=_filename(path, line, values["filename"]),
        label=label,
        patient_id=values.get("patient_id", ""),
        projection=_projection(path, line, values.get("projection", "")),
        split=values.get("split", "").lower()[:20],
        findings=findings,
        extra={key: value for key, value in values.items() if key not in _KNOWN and value},
        columns=frozenset(values).intersection(_KNOWN),
    )


def _filename(path: Path, line: int, text: str) -> str:
    """With / between folders, as in a zip, also where the table was made on Windows."""
    name = text.replace("\\", "/").removeprefix("./")
    if not name:
        raise InvalidCsv(f"{path.name}, line {line}: the file name is empty; name the file.")
    if len(name) > LONGEST_NAME:
        raise InvalidCsv(
            f"{path.name}, line {line}: the file name has {len(name)} characters; "
            f"shorten the file's name to {LONGEST_NAME} at most."
        )
    return name


def _projection(path: Path, line: int, text: str) -> str:
    projection = text.upper()
    if projection not in _PROJECTIONS:
        raise InvalidCsv(
            f"{path.name}, line {line}: the projection {text!r} is unknown; write PA, AP, LL, RL or LATERAL, "
            "or leave it empty."
        )
    return projection


def _box(path: Path, line: int, values: Mapping[str, str]) -> Box:
    numbers = []
    for column in ("x", "y", "width", "height"):
        try:
            number = float(values[column])
        except ValueError:
            number = float("nan")
        if not -1e6 < number < 1e6 or (column in ("width", "height") and number <= 0):
            raise InvalidCsv(
                f"{path.name}, line {line}: {column} is {values[column]!r}; give a number of pixels"
                f"{' above 0' if column in ('width', 'height') else ''}."
            )
        numbers.append(number)
    x, y, width, height = numbers
    return Box(x, y, width, height, finding=values.get("finding", ""))


def _lines(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> stripped text) for every row that is not blank."""
    text = _text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        reader.fieldnames = _columns(path, reader.fieldnames or (), needed)
        for values in reader:
            if None in values:
                raise InvalidCsv(f"{path.name}, line {reader.line_num}: more values than columns; quote commas.")
            stripped = {key: (value or "").strip() for key, value in values.items() if key}
            if any(stripped.values()):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise InvalidCsv(f"{path.name}, line {reader.line_num}: not readable as CSV ({error}).") from error


def _columns(path: Path, header: Sequence[str], needed: tuple[str, ...]) -> list[str]:
    names = [(name or "").strip().lower() for name in header]
    missing = [name for name in needed if name not in names]
    if missing:
        raise InvalidCsv(f"{path.name} has no column {missing[0]!r}; its first line must name {', '.join(needed)}.")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InvalidCsv(f"{path.name} has two columns {twice[0]!r}; keep one of them.")
    return names


def _text(path: Path) -> str:
    if not path.is_file():
        raise InvalidCsv(f"There is no CSV file {path.name}; check the path.")
    if path.stat().st_size > LARGEST_CSV:
        raise InvalidCsv(f"{path.name} is larger than {LARGEST_CSV // 2**20} MiB; split it.")
    data = path.read_bytes()
    # Excel's "Unicode text" is UTF-16 with its mark; without the mark only the other two are tried.
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:  # no database keeps it in a text
            break
        return text
    raise InvalidCsv(f"{path.name} is neither UTF-8 nor Windows-1252 text; save it as CSV UTF-8.")


def _delimiter(text: str) -> str:
    """Spreadsheets of half of Europe write semicolons."""
    header = text.split("\n", 1)[0]
    return max((",", ";", "\t"), key=header.count)
