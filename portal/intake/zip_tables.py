"""The tables of an upload: which holds the labels, which the boxes, and which is left aside."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from portal.intake.csv_labels import Box, CsvRow, InvalidCsv, is_box_table, names_files, read_boxes, read_labels
from portal.intake.mapping.meaning import TableKind, TableMapping
from portal.intake.table_columns import TableFate

MappingOf = Callable[[Path], TableMapping | None]
_TWO_TABLES = (
    "The zip holds two {kind}; keep one CSV of labels and one of boxes (with the columns x, y, width, height)."
)


def by_names(table: Path) -> TableMapping | None:
    """No mapping: the columns mean what their names say."""
    return None


def read_tables(
    tables: Sequence[Path],
    mapping_of: MappingOf,
    skipped: list[str],
    beat: Callable[[], None],
    *,
    fates: list[TableFate] | None = None,
) -> tuple[Mapping[str, CsvRow] | None, Mapping[str, tuple[Box, ...]] | None, int]:
    """The rows, the boxes, and the number of tables that are left aside: those that name no films, where another table
    has the labels, and those of which a person said so. Raises InvalidCsv."""
    rows: dict[str, CsvRow] | None = None
    boxes: dict[str, tuple[Box, ...]] | None = None
    mappings = {table: mapping_of(table) for table in tables}
    kinds = {table: _kind_of(table, mapping) for table, mapping in mappings.items()}
    read = [table for table in tables if kinds[table] in (TableKind.LABELS, TableKind.BOXES)]
    if TableKind.LABELS not in kinds.values():
        read += [table for table in tables if kinds[table] is None][:1]  # which is a question
    for table in read:
        mapping = mappings[table]
        if (kinds[table] or _kind_by_columns(table)) == TableKind.BOXES:
            if boxes is not None:
                raise InvalidCsv(_TWO_TABLES.format(kind="tables of boxes"))
            boxes = read_boxes(table, skipped, mapping=mapping, beat=beat, fates=fates)
        elif rows is None:
            rows = read_labels(table, skipped, mapping=mapping, beat=beat, fates=fates)
        else:
            raise InvalidCsv(_TWO_TABLES.format(kind="label tables"))
    return rows, boxes, len(tables) - len(read)


def _kind_of(table: Path, mapping: TableMapping | None) -> TableKind | None:
    """None: no column names the files."""
    if mapping is not None:
        return mapping.kind
    return _kind_by_columns(table) if names_files(table) else None


def _kind_by_columns(table: Path) -> TableKind:
    return TableKind.BOXES if is_box_table(table) else TableKind.LABELS
