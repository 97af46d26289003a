"""Import a published dataset: its tables are read row by row, and the films that they name imported, a thousand rows at
a time. An import of 160,000 rows needs no more memory than one of 1,000, and one that was killed goes on: a film that
is there under its published name is not opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from portal.imaging.handled_elements import ElementOutcome
from portal.intake.csv_labels import CsvRow
from portal.intake.entries import Entry, NamedFile
from portal.intake.film_storage import view_of
from portal.intake.films import Batch, import_batches
from portal.intake.import_report import ImportReport
from portal.intake.scanned_files import require_clean
from portal.intake.sources.file_index import FileIndex, is_published_table
from portal.intake.sources.published_table import PublishedTable, open_published
from portal.intake.sources.source import LeftOut, PublishedSource, SourceFilm, SourceOptions
from portal.intake.stored_words import table_words
from portal.intake.table_columns import ColumnFate, TableFate, fates_of_published
from portal.intake.tables import InvalidCsv
from portal.models import Dataset, Image, Upload, User

ROWS_TOGETHER = 1000
MOST_WORDS = 10
MakeBatch = Callable[[Sequence[Entry], int], Batch]
_NAMES_IN_A_QUERY = 500  # old builds of SQLite allow 999 parameters


def import_source(
    *,
    upload: Upload,
    source: PublishedSource,
    options: SourceOptions,
    files: Iterable[NamedFile],
    tables: Sequence[NamedFile] = (),
    report: ImportReport,
    actor: User | None,
    are_scanned: bool = False,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """Import the dataset with the tables among its files, and further `tables`. Unless the files `are_scanned`, the
    virus scanner gets each table before it is opened, and each film before it is decoded. Raises InvalidCsv, Infected
    and TooLargeToScan before a film is stored, and ScannerAway."""
    found_tables = [*tables]

    def films() -> Iterator[NamedFile]:
        for file in files:
            if is_published_table(file.name):
                found_tables.append(file)
            else:
                yield file

    index = FileIndex(films(), parts=source.parts_of_name)
    if not are_scanned:
        for number, table in enumerate(found_tables, start=1):
            require_clean(table.path, words=table_words(table.name, number))
    opened = _opened(found_tables)
    by_key = source.tables_of(opened)
    report.deidentified.tables.extend(_fates(source, opened))
    total = sum(1 for _ in source.films(by_key, options))  # also finds what cannot be read, before a film is stored
    if total == 0:
        raise InvalidCsv(f"The tables of {source.title} have no row below their header; download them again.")
    report.source = source.title

    return import_batches(
        upload=upload,
        batches=_batches(upload.dataset, source.films(by_key, options), index, report, batch_of(source, options)),
        total=total,
        report=report,
        actor=actor,
        are_scanned=are_scanned,
        processes=processes,
        on_progress=on_progress,
    )


def batch_of(source: PublishedSource, options: SourceOptions) -> MakeBatch:
    """Make a batch of entries and a number of rows under the rules of the source: which films to leave out, and how
    its pictures are read."""

    def leave_out(row: CsvRow | None, header: Mapping[str, str]) -> str | None:
        age = header.get("age_years", "") or (row.age_years if row else "")
        return options.left_out(view=view_of(row, header), age_years=age)

    return partial(Batch, asks_for_copies=False, leave_out=leave_out, bits=source.bits)


def _opened(files: Sequence[NamedFile]) -> list[PublishedTable]:
    """Tables of which the folder has several copies count once."""
    by_path: dict[Path, PublishedTable] = {}
    for file in files:
        by_path.setdefault(file.path, open_published(file.path, Path(file.name).name))
    return list(by_path.values())


def _fates(source: PublishedSource, tables: Sequence[PublishedTable]) -> Iterator[TableFate]:
    for number, table in enumerate(tables, start=1):
        shape = next((shape for shape in source.shapes.values() if shape.fits(table)), None)
        columns = fates_of_published(table.header, source.fates)
        if shape is None or not shape.columns:  # its first line may be no header
            how = "the table is not read" if shape is None else "joins films and parts or patients, and is not kept"
            columns = (ColumnFate("all of it", ElementOutcome.REMOVED, how),)
        yield TableFate(table_words(table.name, number), columns)


def _batches(
    dataset: Dataset,
    items: Iterator[SourceFilm | LeftOut],
    index: FileIndex,
    report: ImportReport,
    made: MakeBatch,
) -> Iterator[Batch]:
    films: list[SourceFilm] = []
    rows = 0
    for item in items:
        rows += 1
        if isinstance(item, LeftOut):
            report.counts[item] += 1
        else:
            films.append(item)
        if rows == ROWS_TOGETHER:
            yield made(_entries(dataset, films, index, report), rows)
            films, rows = [], 0
    if rows:
        yield made(_entries(dataset, films, index, report), rows)


def _entries(dataset: Dataset, films: Sequence[SourceFilm], index: FileIndex, report: ImportReport) -> list[Entry]:
    there = _films_there(dataset, [film.row.filename for film in films])
    entries = []
    for film in films:
        name = film.row.filename
        path = None if name in there else index.path_of(name)
        if path is None and name not in there:
            report.counts[LeftOut.SEVERAL_FILES if index.is_ambiguous(name) else LeftOut.NO_FILE] += 1
            continue
        if word := film.row.unknown_projection:
            report.counts["unknown views"] += 1
            report.unknown_views = tuple(dict.fromkeys([*report.unknown_views, word]))[:MOST_WORDS]
        report.matched_rows += 1
        entries.append(Entry(path, name, film.row, film.boxes, there.get(name)))
    return entries


def _films_there(dataset: Dataset, names: Sequence[str]) -> dict[str, Image]:
    there: dict[str, Image] = {}
    for start in range(0, len(names), _NAMES_IN_A_QUERY):
        named = dataset.images.filter(original_name__in=names[start : start + _NAMES_IN_A_QUERY])
        there |= {image.original_name: image for image in named.select_related("patient", "dataset__site")}
    return there
