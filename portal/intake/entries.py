"""The files of an import: of a folder or an unpacked zip, each with its row and boxes of the tables."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from portal.intake.csv_labels import Box, CsvRow
from portal.intake.first_names import MOST
from portal.intake.import_report import ImportReport
from portal.intake.name_matching import ENDINGS, Match, Rule, match_names
from portal.models import Image

IMAGE_ENDINGS = ENDINGS | {""}
_CLUTTER = frozenset({"DICOMDIR", "THUMBS.DB", "DESKTOP.INI"})
Boxes = Mapping[str, tuple[Box, ...]]


@dataclass(frozen=True)
class Entry:
    """A file of an import. `name` is the path inside the folder or zip, as listed in a CSV; without a CSV it is not
    kept, since it may contain a patient's name."""

    path: Path | None  # None: the row labels a film that is in the dataset
    name: str
    row: CsvRow | None = None
    boxes: tuple[Box, ...] | None = None  # None: there is no CSV of boxes, so boxes stay as they are
    there: Image | None = None  # the film that is in the dataset under this name


@dataclass(frozen=True)
class NamedFile:
    """A file of a folder or zip. `above`: how many folders at the beginning of its name a CSV may leave out or write
    differently, such as that of a zip in a zip."""

    name: str
    path: Path
    above: int = 0


def entries_of_folder(
    folder: Path, rows: Mapping[str, CsvRow] | None, boxes: Boxes | None, report: ImportReport
) -> list[Entry]:
    """Return the files of a folder to import, in a stable order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    named = [NamedFile(path.relative_to(folder).as_posix(), path) for path in files]
    return entries_of(named, rows, boxes, report)


def entries_of(
    files: Sequence[NamedFile], rows: Mapping[str, CsvRow] | None, boxes: Boxes | None, report: ImportReport
) -> list[Entry]:
    """Return the files to import: with a CSV, the files that it lists."""
    if rows is not None:
        views = Counter(row.unknown_projection for row in rows.values() if row.unknown_projection)
        report.unknown_views = tuple(word for word, _ in views.most_common())
        report.count_rows("unknown views", [row for row in rows.values() if row.unknown_projection])
        parts = Counter(row.unknown_split for row in rows.values() if row.unknown_split)
        report.unknown_splits = tuple(word for word, _ in parts.most_common())
        report.count_rows("unknown splits", [row for row in rows.values() if row.unknown_split])
        report.count_rows("unread sexes", [row for row in rows.values() if row.unread_sex])
        report.count_rows("unread ages", [row for row in rows.values() if row.unread_age])
        report.counts["findings without a label"] += sum(bool(row.findings) and not row.label for row in rows.values())
        report.left_out = next((row.left_out for row in rows.values()), ())  # the same for every row
        entries = _match_rows(files, rows, boxes, report)
    else:
        by_name = sorted(files, key=lambda file: file.name)
        entries = [Entry(file.path, file.name) for file in by_name if _may_be_film(file.name)]
        report.counts["no films"] += sum(not _may_be_film(file.name) and not is_clutter(file.name) for file in files)
    used = sum(len(entry.boxes or ()) for entry in entries if entry.row and (entry.row.label or entry.row.readings))
    report.counts["boxes left aside"] += sum(map(len, (boxes or {}).values())) - used
    return entries


def _may_be_film(name: str) -> bool:
    """Judged by the file extension. A number is not one: DICOM files are often named by their UID."""
    ending = PurePosixPath(name).suffix.lower()
    return (ending in IMAGE_ENDINGS or re.fullmatch(r"\.\d+", ending) is not None) and not is_clutter(name)


def is_clutter(name: str) -> bool:
    """Whether this is a file that operating systems or scanners add to folders."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].upper() in _CLUTTER


def _match_rows(
    files: Sequence[NamedFile], rows: Mapping[str, CsvRow], boxes: Boxes | None, report: ImportReport
) -> list[Entry]:
    """A row that names no file may name a film of the dataset."""
    files = [file for file in files if not is_clutter(file.name)]
    matches = match_names(list(rows), [file.name for file in files], [file.above for file in files])
    boxes_of = None if boxes is None else _boxes_of_rows(boxes, rows, files, matches)
    entries = []
    report.rows = len(rows)
    for row, match in zip(rows.values(), matches, strict=True):
        film_boxes = None if boxes_of is None else boxes_of.get(row.filename, ())
        row = _with_boxes_of_readers(row, film_boxes or ())
        if match.is_ambiguous:
            report.ambiguous.append(row)
        elif match.index is None:
            entries.append(Entry(None, row.filename, row, film_boxes))
        else:
            entries.append(Entry(files[match.index].path, row.filename, row, film_boxes))
            report.counts[match.rule] += match.rule != Rule.EXACT
    used = {match.index for match in matches}
    unused = [file.name for index, file in enumerate(files) if index not in used and _may_be_film(file.name)]
    report.counts["not in the CSV"] += len(unused)
    report.unused = sorted(unused)[:MOST]
    return entries


def _with_boxes_of_readers(row: CsvRow, boxes: Sequence[Box]) -> CsvRow:
    readings = [
        replace(reading, boxes=tuple(box for box in boxes if box.reader == reading.reader)) for reading in row.readings
    ]
    return replace(row, readings=tuple(readings)) if readings else row


def _boxes_of_rows(
    boxes: Boxes, rows: Mapping[str, CsvRow], files: Sequence[NamedFile], matches: Sequence[Match]
) -> dict[str, tuple[Box, ...]]:
    """Boxes by the file name of a row: of the boxes' own name, or of the file that both name."""
    row_names, named = list(rows), list(boxes)
    row_of_file = {match.index: name for name, match in zip(row_names, matches, strict=True) if match.index is not None}
    boxes_of: dict[str, tuple[Box, ...]] = {}
    unmatched = []
    for name, match in zip(named, match_names(named, row_names), strict=True):
        if match.index is not None:
            boxes_of[row_names[match.index]] = boxes[name]
        elif not match.is_ambiguous:
            unmatched.append(name)
    for name, match in zip(unmatched, match_names(unmatched, [file.name for file in files]), strict=True):
        if match.index in row_of_file:
            boxes_of.setdefault(row_of_file[match.index], boxes[name])
    return boxes_of
