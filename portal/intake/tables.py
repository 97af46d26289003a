"""Tables as people have them: text with any usual delimiter, as spreadsheets and programs write it, or a workbook.

A table is read once, row by row, in time linear in its size. What a cell means is decided in `csv_labels`.
"""

import csv
import datetime
import io
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from portal.labels.formula_cells import restored

TABLE_ENDINGS = (".csv", ".tsv", ".xlsx")
LARGEST_CSV = 200 * 2**20  # bytes; of a workbook, unpacked
MOST_ROWS = 2**20  # of a sheet, and of any other table
_DELIMITERS = (",", ";", "\t")
_MOST_OPEN_QUOTES = 20
# Invisible characters that come along when text is copied: soft hyphen, zero-width space, marks of direction, byte
# order mark. The joiners U+200C and U+200D are letters of some scripts, and removed at the ends of a cell only.
_INVISIBLE = (0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF)
_CLEANED = dict.fromkeys(_INVISIBLE) | dict.fromkeys((0xA0, 0x2007, 0x202F), " ")
# What pandas, R, databases and spreadsheets write for an empty cell, and people for "none".
_EMPTY = frozenset({"", "na", "n/a", "#n/a", "#na", "<na>", "#nv", "nan", "-nan", "none", "null", "-", "--", "–", "—"})


class InvalidCsv(Exception):
    """The message is shown to the user and names the line."""


class UnclearTable(InvalidCsv):
    """What the table's columns or labels mean is for a person to say. The message quotes no value."""


@dataclass(frozen=True)
class TableRow:
    """`cells` are as many as the columns; with a `problem`, the row cannot be used."""

    line: int
    cells: Sequence[str]
    problem: str = ""


@dataclass(frozen=True)
class SourceTable:
    name: str
    header: tuple[str, ...]
    rows: Iterator[TableRow]  # without blank ones
    decimal_comma: bool  # whether a comma in a number can only be a decimal comma


def is_table(name: str) -> bool:
    """Whether a file is a table by its ending, and not the lock file of a spreadsheet that has it open."""
    last = name.rsplit("/", 1)[-1].lower()
    return last.endswith(TABLE_ENDINGS) and not last.startswith("~$")


def read_table(path: Path, is_known: Callable[[str], bool]) -> SourceTable:
    """Return the table. `is_known` tells the names of known columns, by which the delimiter and the sheet are chosen.
    Raises InvalidCsv; so do the rows."""
    if not path.is_file():
        raise InvalidCsv(f"There is no CSV file {path.name}; check the path.")
    if path.stat().st_size > LARGEST_CSV:
        raise InvalidCsv(f"{path.name} is larger than {LARGEST_CSV // 2**20} MiB; split it into several files.")
    header, rows, decimal_comma = (
        _workbook(path, is_known) if path.suffix.lower() == ".xlsx" else _text_table(path, is_known)
    )
    header, rows = _with_index_column(header, rows)
    return SourceTable(path.name, tuple(header), _checked(path, len(header), rows), decimal_comma)


def clean(text: str) -> str:
    """The text without invisible characters, and with usual spaces for no-break ones, stripped."""
    if not text.isascii():
        text = text.translate(_CLEANED).strip("\u200c\u200d \t\r\n")
    return text.strip()


def value_of(cell: str) -> str:
    """The cell's value; blank where the cell says that there is none, such as NA, NaN, None, null, #N/A or -. An
    apostrophe that keeps a spreadsheet from calculating it is taken off."""
    value = clean(cell)
    return "" if len(value) < 5 and value.lower() in _EMPTY else restored(value)


def _checked(path: Path, columns: int, rows: Iterator[TableRow]) -> Iterator[TableRow]:
    """The rows that are not blank, with as many cells as there are columns. Surplus cells may be empty only: programs
    write a delimiter at the end of every line."""
    for number, row in enumerate(rows):
        if number >= MOST_ROWS:
            raise InvalidCsv(f"{path.name} has more than {MOST_ROWS:,} rows; split it into several files.")
        if row.problem:
            yield row
        elif any(map(clean, row.cells[columns:])):
            yield TableRow(row.line, (), "more values than columns; put values with commas in quotes")
        elif any(map(clean, row.cells)):
            missing = columns - len(row.cells)
            yield TableRow(row.line, [*row.cells[:columns], *[""] * missing])


def _with_index_column(header: list[str], rows: Iterator[TableRow]) -> tuple[list[str], Iterator[TableRow]]:
    """R writes the numbers of the rows without a name in the header, which is then one name short."""
    first = next(rows, None)
    if first is None:
        return header, rows
    if len(first.cells) == len(header) + 1 and clean(first.cells[-1]) and clean(first.cells[0]) in ("0", "1"):
        header = ["", *header]
    return header, _chained(first, rows)


def _chained(first: TableRow, rows: Iterator[TableRow]) -> Iterator[TableRow]:
    yield first
    yield from rows


# text -----------------------------------------------------------------------------------------------------


class _Lines:
    """Lines with their position, to which a reader can be set back."""

    def __init__(self, lines: list[str], position: int = 0) -> None:
        self._lines, self.position = lines, position

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.position >= len(self._lines):
            raise StopIteration
        self.position += 1
        return self._lines[self.position - 1]


def _text_table(path: Path, is_known: Callable[[str], bool]) -> tuple[list[str], Iterator[TableRow], bool]:
    lines = io.StringIO(_text(path), newline="").readlines()
    start = _after_blank(lines, 0)
    delimiter = ""
    if start < len(lines) and (declared := re.fullmatch(r'\s*"?sep=(.)"?[\s,;]*', lines[start], re.IGNORECASE)):
        delimiter, start = declared[1], _after_blank(lines, start + 1)
    delimiter = delimiter or _delimiter(path, lines, start, is_known)
    source = _Lines(lines, start)
    try:
        header = next(csv.reader(source, delimiter=delimiter, strict=True), [])
    except (csv.Error, ValueError, TypeError) as error:  # or a delimiter that cannot be one
        raise InvalidCsv(f"{path.name}, line {start + 1}: this is not valid CSV ({error}).") from error
    return [clean(name) for name in header], _records(path, source, delimiter), delimiter != ","


def _after_blank(lines: list[str], start: int) -> int:
    while start < len(lines) and not lines[start].strip(' ",;\t\r\n'):
        start += 1
    return start


def _delimiter(path: Path, lines: list[str], start: int, is_known: Callable[[str], bool]) -> str:
    """The delimiter that gives the header most known columns, then most columns: the header may hold others, in quotes
    or not. Spreadsheets in much of Europe write semicolons."""
    headers: dict[str, list[str]] = {}
    for delimiter in _DELIMITERS:
        try:
            headers[delimiter] = next(csv.reader(_Lines(lines, start), delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            if "limit" in str(error):
                raise InvalidCsv(f"{path.name}, line {start + 1}: this is not valid CSV ({error}).") from error
    if not headers:
        return _DELIMITERS[0]
    return max(headers, key=lambda each: (sum(map(is_known, map(clean, headers[each]))), len(headers[each])))


def _records(path: Path, source: _Lines, delimiter: str) -> Iterator[TableRow]:
    """Yield the records. A line with a quote that is not closed would take the lines after it along: it is given up,
    and the reader goes on at the next line. How often is limited, so that the time stays linear."""
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    set_back = 0
    while True:
        first = source.position
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if source.position > first + 1:
                set_back += 1
                source.position = first + 1
            if set_back > _MOST_OPEN_QUOTES:
                raise InvalidCsv(
                    f"{path.name}, line {first + 1}: this is not valid CSV ({error}), as in {set_back - 1} lines "
                    "before it; close each quote, or write the table again without them."
                ) from error
            yield TableRow(first + 1, (), f"this is not valid CSV ({error})")
        else:
            yield TableRow(first + 1, cells)


def _text(path: Path) -> str:
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    # Excel's "Unicode text" is UTF-16 with a byte order mark; without the mark only the other two are tried.
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:  # databases do not store NUL in text
            break
        return text.removeprefix("\ufeff")
    raise InvalidCsv(f"{path.name} is neither UTF-8 nor Windows-1252 text; save it as CSV UTF-8.")


# workbooks ------------------------------------------------------------------------------------------------


def _workbook(path: Path, is_known: Callable[[str], bool]) -> tuple[list[str], Iterator[TableRow], bool]:
    """The sheet with the most known columns; two that have as many are a question."""
    sheets = [(header, rows, sum(map(is_known, header))) for header, rows in _sheets(path)]
    if not sheets:
        raise InvalidCsv(f"{path.name} has no sheet with cells; save the table as CSV.")
    most = max(known for *_, known in sheets)
    best = [sheet for sheet in sheets if sheet[2] == most]
    if most and len(best) > 1:
        raise InvalidCsv(
            f"{path.name} has {len(best)} sheets that may be the table; keep one of them, or save it as CSV."
        )
    header, rows, _ = best[0]
    return header, iter(rows), True


def _sheets(path: Path) -> list[tuple[list[str], list[TableRow]]]:
    """Header and rows of every sheet that has a cell. Formulas count by the values that were saved with them."""
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > LARGEST_CSV:
            raise InvalidCsv(f"Unpacked, {path.name} is larger than {LARGEST_CSV // 2**20} MiB; save the table as CSV.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations that openpyxl does not read
            with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as bounded:
                _copy_members(archive, bounded)
                book = load_workbook(bounded, read_only=True, data_only=True, keep_links=False)
                try:
                    sheets = [_sheet_rows(path, sheet) for sheet in book.worksheets]
                finally:
                    book.close()
    except InvalidCsv:
        raise
    except Exception as error:  # openpyxl raises whatever its parsers meet in a damaged file
        raise InvalidCsv(f"{path.name} is damaged or no Excel workbook; save the table as CSV.") from error
    return [([clean(name) for name in rows[0].cells], rows[1:]) for rows in sheets if rows]


def _copy_members(archive: zipfile.ZipFile, target: IO[bytes]) -> None:
    """Copy the workbook with as many bytes of each member as it states. openpyxl reads a whole member at once, and
    zipfile inflates all of it before it cuts it to that length."""
    with zipfile.ZipFile(target, "w") as copy:
        for info in archive.infolist():
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile
            with archive.open(info) as source, copy.open(info.filename, "w") as member:
                shutil.copyfileobj(source, member, 2**20)


def _sheet_rows(path: Path, sheet: object) -> list[TableRow]:
    sheet.reset_dimensions()  # type: ignore[attr-defined]  # the stated size may be wrong
    rows = []
    for line, cells in enumerate(sheet.iter_rows(), start=1):  # type: ignore[attr-defined]
        if line > MOST_ROWS:
            raise InvalidCsv(f"{path.name} has more than {MOST_ROWS:,} rows; split it into several files.")
        texts = [_cell_text(cell) for cell in cells]
        if any(texts):
            rows.append(TableRow(line, texts))
    return rows


def _cell_text(cell: object) -> str:
    """The cell as the sheet shows it, as far as it matters: 12 for a number 12.0, 00012 for one with the format 00000,
    a date in ISO format."""
    value = getattr(cell, "value", None)
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    text = str(value).replace("\0", "")
    if type(value) is int and re.fullmatch(r"0{2,30}", pattern := getattr(cell, "number_format", "")):
        return text.zfill(len(pattern))
    return text
