"""The table of labels: filename, label, patient_id, projection, split, finding, attributes. A column image, with the
UUID of a film that is in the dataset, may take the place of filename. Of further columns only sex and age are read, and
those kept that a mapping declares a number or a category.

A value that cannot be used costs its row; a table is refused where nothing in it can be used, or where it is not clear
what a column means. A message names line and column but never quotes a value: it is stored and shown to every member,
and where columns are shifted, the value may be a patient's name.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from portal.imaging.views import placement_of_word, quoted, view_of_word
from portal.intake.csv_columns import (
    CORNERS,
    KNOWN,
    LIKE_LABEL,
    SECOND_NAMES,
    SECOND_NAMES_OF_BOXES,
    SIZES,
    column_name,
    is_index,
    is_known,
    may_be_kept,
    may_identify,
)
from portal.intake.csv_people import are_unread, facts_of_person, is_age_column, is_sex_column
from portal.intake.further_columns import ColumnKind, is_age, number_of, with_rare_together
from portal.intake.label_words import MOST_LABELS, meaning_of_word
from portal.intake.mapping.facts import distinct_names
from portal.intake.mapping.meaning import TableMapping
from portal.intake.stored_words import column_words, table_words
from portal.intake.table_columns import TableFate, fate_of
from portal.intake.tables import InvalidCsv as InvalidCsv
from portal.intake.tables import SourceTable, UnclearTable, read_table, value_of

SPLIT_WORDS = ("train", "align", "fit", "tune", "calibrate", "test")  # train is drawn into fit, tune and calibrate
# shown as they are where they stand for a split; another word could be a name, in a table whose columns are shifted
_OTHER_SPLITS = frozenset({"training", "valid", "val", "validation", "dev", "testing", "eval", "holdout", "all"})
LABELS = ("normal", "abnormal", "unsure", "exclude", "")
ORIGINS = ("software", "report", "reader", "")  # portal.models.LabelOrigin
ATTRIBUTES = ("device", "post-operative", "variant", "old fracture", "poor inspiration")  # of normal films
_NO_FINDING = frozenset({"no finding", "no findings", "normal"})
MOST_BOXES = 500  # of a film
ROWS_BETWEEN_BEATS = 1000
LONGEST_NAME = 255  # characters


class _BadRow(Exception):
    """Why a row cannot be used, as a clause for a user."""


class _UnknownLabel(_BadRow):
    pass


@dataclass(frozen=True)
class RowReading:
    """What one reader of a published dataset, by their code, said of the film."""

    reader: str
    label: str
    findings: tuple[str, ...] = ()
    boxes: "tuple[Box, ...]" = ()


@dataclass(frozen=True)
class CsvRow:
    filename: str
    label: str = ""
    patient_id: str = ""
    projection: str = ""  # a known view
    unknown_projection: str = ""  # the word of the CSV where it is no known view, or its shape
    split: str = ""  # one of SPLIT_WORDS
    unknown_split: str = ""  # the word of the CSV where it is none of them, or its shape
    findings: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    sex: str = ""  # M, F or O
    age_years: str = ""  # whole years, above 89 together
    unread_sex: bool = False  # the CSV states one that cannot be used
    unread_age: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)
    columns: frozenset[str] = frozenset(KNOWN)  # the known columns that the CSV has
    image: str = ""  # the UUID of a film that is in the dataset
    left_out: tuple[str, ...] = ()  # names of columns that are not kept (portal.intake.stored_words)
    origin: str = ""  # portal.models.LabelOrigin: what the label was made from
    readings: tuple[RowReading, ...] = ()  # of several readers, whose labels are kept beside each other
    photometric: str = ""  # of a published picture, whose file does not say it
    is_of_people: bool = False  # the label was given in Hilum, and exported
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Box:
    """A box in original pixels; (x, y) is its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    finding: str = ""
    reader: str = ""  # the code of the reader of a published dataset who drew it

    def to_json(self) -> dict[str, float | str]:
        return {"x": self.x, "y": self.y, "width": self.width, "height": self.height, "finding": self.finding}


def _no_beat() -> None:
    pass


def read_labels(
    path: Path,
    skipped: list[str] | None = None,
    *,
    mapping: TableMapping | None = None,
    beat: Callable[[], None] = _no_beat,
    fates: list[TableFate] | None = None,
) -> dict[str, CsvRow]:
    """Return rows by file name, and add to `skipped` where and why a row cannot be used, and to `fates` what becomes of
    the columns. `mapping` says what the columns mean, otherwise their names do. `beat` is called every thousand rows.
    Raises InvalidCsv."""
    skipped = [] if skipped is None else skipped
    before = len(skipped)
    rows: dict[str, CsvRow] = {}
    lines_of: dict[str, int] = {}
    contradicted: set[str] = set()
    unknown: Counter[str] = Counter()  # words for labels
    table = _Columns(read_table(path, is_known), ("filename",), SECOND_NAMES, mapping)
    if fates is not None:
        fates.append(table.fate)
    further_values: dict[str, set[str]] = defaultdict(set)  # column -> some of its values
    for line, values in table.rows(skipped, beat):
        try:
            row = _label_row(values if mapping is None else _translated(values, mapping, path), table, line)
        except _BadRow as bad:
            unknown[values.get("label", "").lower()] += isinstance(bad, _UnknownLabel)
            skipped.append(f"{path.name}, line {line}: {bad}")
            continue
        first = rows.setdefault(row.filename, row)
        if merged := _with_further_reading(first, row):
            rows[row.filename] = merged
        elif first != row:  # the same row twice is one
            contradicted.add(row.filename)
            skipped.append(
                f"{path.name}, line {line}: line {lines_of[row.filename]} names the same file with other values; "
                "neither is used, keep one row for each file"
            )
        lines_of.setdefault(row.filename, line)
        if mapping is None:
            _collect(further_values, values)
    for name in contradicted:
        del rows[name]
    rows = _with_categories(rows, table.kept)
    _ask_for_unknown_labels(path, +unknown, bool(rows), skipped[before:])
    _refuse_if_useless(path, bool(rows), skipped[before:])
    if not rows:
        raise InvalidCsv(f"{path.name} has no rows below its header; add at least one file.")
    if mapping is None:
        _ask_for_the_label(path, table, further_values)
    return rows


def _with_further_reading(first: CsvRow, row: CsvRow) -> CsvRow | None:
    """The rows of two readers of a film as one; None for any other two rows."""
    if not first.readings or not row.readings or _without_label(first) != _without_label(row):
        return None
    further = row.readings[0]
    if further in first.readings:
        return first
    if further.reader in {reading.reader for reading in first.readings}:
        return None
    label = first.label if first.label == row.label else ""
    return replace(_without_label(first), label=label, readings=(*first.readings, further))


def _without_label(row: CsvRow) -> CsvRow:
    return replace(row, label="", findings=(), attributes=(), readings=())


def _collect(values_of: dict[str, set[str]], values: Mapping[str, str]) -> None:
    for name, value in values.items():
        if value and name not in KNOWN and len(values_of[name]) <= MOST_LABELS:
            values_of[name].add(value.lower())


def _with_categories(rows: dict[str, CsvRow], kept: Mapping[str, ColumnKind]) -> dict[str, CsvRow]:
    """The rows with the rare values of each category put together."""
    categories = [name for name, kind in kept.items() if kind == ColumnKind.CATEGORY]
    for name in categories:
        values = with_rare_together(row.extra.get(name, "") for row in rows.values())
        for filename, row in rows.items():
            if written := row.extra.get(name):
                rows[filename] = replace(row, extra={**row.extra, name: values[written]})
    return rows


def read_boxes(
    path: Path,
    skipped: list[str] | None = None,
    *,
    mapping: TableMapping | None = None,
    beat: Callable[[], None] = _no_beat,
    fates: list[TableFate] | None = None,
) -> dict[str, tuple[Box, ...]]:
    """Return boxes by file name, in the order of the table, and add to `skipped` where and why a row cannot be used. A
    row without coordinates says that its film has no box. `mapping`, `beat` and `fates` are those of `read_labels`.
    Raises InvalidCsv."""
    skipped = [] if skipped is None else skipped
    before = len(skipped)
    boxes: dict[str, list[Box]] = {}
    read = read_table(path, is_known)
    needed = _box_columns(read.header) if mapping is None else mapping.box_columns
    table = _Columns(read, ("filename", *needed), SECOND_NAMES_OF_BOXES, mapping)
    if fates is not None:
        fates.append(table.fate)
    for line, values in table.rows(skipped, beat):
        try:
            name = _filename(values.get("filename", _image_uuid(values.get("image", ""))))
            of_film = boxes.setdefault(name, [])
            if any(values[column] for column in needed):
                box = _box(values, needed, read.decimal_comma)
                of_film.append(replace(box, reader=_reader(values)))
            if len(of_film) > MOST_BOXES:
                raise InvalidCsv(
                    f"{path.name}, line {line}: a file has more than {MOST_BOXES} boxes; "
                    "check that the column of file names is the right one."
                )
        except _BadRow as bad:
            skipped.append(f"{path.name}, line {line}: {bad}")
    _refuse_if_useless(path, bool(boxes) and (any(boxes.values()) or len(skipped) == before), skipped[before:])
    return {name: tuple(of_film) for name, of_film in boxes.items()}


def _box_columns(header: Sequence[str]) -> tuple[str, ...]:
    names = {column_name(name) for name in header}
    return CORNERS if "x_min" in names and not {"x", "y"} <= names else SIZES


def is_box_table(path: Path) -> bool:
    """Whether the table is one of boxes, by its columns. Raises InvalidCsv."""
    return not {"x", "x_min"}.isdisjoint(read_columns(path))


def names_files(path: Path) -> bool:
    """Whether the table has a column that names files or films. Raises InvalidCsv."""
    return not {"filename", "image", *SECOND_NAMES}.isdisjoint(read_columns(path))


def read_columns(path: Path) -> list[str]:
    """Return the column names, normalised by `column_name`. Raises InvalidCsv."""
    return [column_name(name) for name in read_table(path, is_known).header]


def _label_row(values: Mapping[str, str], table: "_Columns", line: int) -> CsvRow:
    label = values.get("label", "").lower()
    if label not in LABELS:
        raise _UnknownLabel(
            f"the label is unknown; write normal, abnormal, unsure or exclude, or leave it empty ({_shape(label)})"
        )
    findings = tuple(part for part in separated(values.get("finding", "")) if part.lower() not in _NO_FINDING)
    projection = values.get("projection", "")
    image = _image_uuid(values.get("image", ""))
    if "filename" not in values and not image:
        raise _BadRow("the image is not the UUID of a film; enter that, or add a column filename")
    sex, age_years, left = facts_of_person({key: value for key, value in values.items() if key not in KNOWN})
    unread_sex, unread_age = are_unread(left)
    further = {name: _kept(values[name], name, kind) for name, kind in table.kept.items()}
    if placement := placement_of_word(projection):
        further["projection as written"] = placement
    if findings and not label:  # findings belong to a label
        further["finding without a label"] = "|".join(findings)
    split = values.get("split", "").strip().lower()
    origin, reader = values.get("label_origin", "").lower(), _reader(values)
    if origin not in ORIGINS:
        raise _BadRow("the origin of the label is unknown; write software, report or reader, or leave it empty")
    return CsvRow(
        filename=_filename(values.get("filename", image)),
        sex=sex,
        age_years=age_years,
        unread_sex=unread_sex,
        unread_age=unread_age,
        label=label,
        patient_id=values.get("patient_id", ""),
        projection=view_of_word(projection) or "",
        unknown_projection=quoted(projection) if view_of_word(projection) is None else "",
        split=split if split in SPLIT_WORDS else "",
        unknown_split="" if split in (*SPLIT_WORDS, "") else split if split in _OTHER_SPLITS else quoted(split),
        findings=findings,
        extra={name: value for name, value in further.items() if value},
        attributes=_attributes(label, values.get("attributes", "")),
        columns=frozenset(values).intersection(KNOWN),
        left_out=table.left_out,
        image=image,
        line=line,
        origin=origin if label else "",
        readings=(RowReading(reader, label, findings),) if reader and label else (),
        is_of_people=values.get("label_source", "").lower() in ("reader", "consensus", "adjudication"),
    )


def _reader(values: Mapping[str, str]) -> str:
    """The code of a reader. It is stored and shown, so it may not be a name."""
    code = values.get("reader_code", "")
    if code and not re.fullmatch(r"[A-Za-z]{0,4}\d{1,6}", code):
        raise _BadRow("the reader is not a code; write one such as R10, of at most four letters and a number")
    return code


def _kept(value: str, column: str, kind: ColumnKind) -> str:
    return number_of(value, of_age=is_age(column)) if kind == ColumnKind.NUMBER else value


def _translated(values: Mapping[str, str], mapping: TableMapping, path: Path) -> Mapping[str, str]:
    """The row with Hilum's word for its label. Where the column of labels lists the findings too, a film that it calls
    normal has none."""
    if "label" not in values:
        return values
    meaning = mapping.meaning_of(values["label"])
    if meaning is None:
        raise UnclearTable(
            f"{path.name} has values in its column of labels that its mapping does not know; say what they mean."
        )
    translated = {**values, "label": meaning}
    if mapping.has_shared_label and meaning == "normal":
        translated["finding"] = ""
    return translated


def _image_uuid(text: str) -> str:
    """The UUID in its usual form; blank for anything else, which is a further column of this name."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def separated(text: str) -> tuple[str, ...]:
    """Parts between | or ;, or the items of a list as Python and JSON write it."""
    if text.startswith("[") and text.endswith("]"):
        items = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", text)
        parts = [re.sub(r"\\(.)", r"\1", one or other) for one, other in items] or text[1:-1].split(",")
    else:
        parts = re.split(r"[|;]", text)
    return tuple(value for value in map(value_of, parts) if value)


def _attributes(label: str, text: str) -> tuple[str, ...]:
    attributes = {part.lower() for part in separated(text)}
    if not attributes <= set(ATTRIBUTES):
        raise _BadRow(
            f"an attribute is unknown; write {', '.join(ATTRIBUTES)}, several with | in between, or leave it empty"
        )
    if attributes and label != "normal":
        raise _BadRow("only films with the label normal have attributes; leave them empty")
    return tuple(attribute for attribute in ATTRIBUTES if attribute in attributes)


def _filename(text: str) -> str:
    """The file name with / between folders, as in a zip, even if the table was written on Windows."""
    name = text.replace("\\", "/").removeprefix("./")
    if not name:
        raise _BadRow("the file name is empty; enter the name of the file")
    if len(name) > LONGEST_NAME:
        raise _BadRow(f"the file name has {len(name)} characters; shorten the file's name to {LONGEST_NAME} at most")
    return name


def _box(values: Mapping[str, str], columns: Sequence[str], decimal_comma: bool) -> Box:
    first, second, third, fourth = (_number(values[column], column, decimal_comma) for column in columns)
    if columns == CORNERS:
        third, fourth = third - first, fourth - second
    for column, size in zip(columns[2:], (third, fourth), strict=True):
        if size <= 0:
            limit = "0" if columns == SIZES else columns[0] if column == "x_max" else columns[1]
            raise _BadRow(f"{column} is not a valid number; enter a number of pixels above {limit}")
    return Box(first, second, third, fourth, finding=_finding_of_box(values.get("finding", "")))


def _number(text: str, column: str, decimal_comma: bool) -> float:
    if decimal_comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not -1e6 < number < 1e6:
        above = " above 0" if column in ("width", "height") else ""
        raise _BadRow(f"{column} is not a valid number; enter a number of pixels{above} ({_shape(text)})")
    return number


def _finding_of_box(text: str) -> str:
    return "" if text.lower() in LABELS else text


def _shape(value: str) -> str:
    return f"it has the shape {quoted(value)}" if value else "it is empty"


class _Columns:
    """A table by its known and further columns, without those that may identify a person. `kept`: further columns that
    are kept, by their normalised names."""

    def __init__(
        self,
        table: SourceTable,
        needed: tuple[str, ...],
        second_names: Mapping[str, str],
        mapping: TableMapping | None = None,
    ) -> None:
        self._table = table
        self.kept: dict[str, ColumnKind] = {}
        self.written = table.header
        self.names = self._named(needed, second_names) if mapping is None else []  # by column
        self._places = (
            [(name, place) for place, name in enumerate(self.names) if name]
            if mapping is None
            else self._mapped(mapping)
        )
        used = {place for name, place in self._places if self._is_read(name, mapping)}
        self.left_out = tuple(
            column_words(name, place)
            for place, name in enumerate(table.header, start=1)
            if place - 1 not in used and not is_index(name)
        )

    @property
    def fate(self) -> TableFate:
        read = {place: name for name, place in self._places}
        return TableFate(
            table_words(self._table.name),
            tuple(
                fate_of(written, place + 1, _plain(read.get(place, "")), self.kept.get(read.get(place, "")))
                for place, written in enumerate(self.written)
            ),
        )

    def _is_read(self, name: str, mapping: TableMapping | None) -> bool:
        if mapping is not None:
            return True
        return name in (*KNOWN, "image", *SIZES, *CORNERS) or is_sex_column(name) or is_age_column(name)

    def _mapped(self, mapping: TableMapping) -> list[tuple[str, int]]:
        """Fields, and columns to keep, with the place of their column."""
        columns = distinct_names(self._table.header)
        missing = [column for column in mapping.columns.values() if column not in columns]
        if missing:
            raise UnclearTable(f"{self._table.name} has not the columns of its mapping; say what its columns mean.")
        places = [(name, columns.index(column)) for name, column in mapping.columns.items()]
        used = set(mapping.columns.values())
        for place, column in enumerate(columns):
            if column in mapping.keep and column not in used and may_be_kept(column):
                written = column_name(column)
                name = f"column {written}" if written in (*KNOWN, "image") else written
                self.kept[name] = mapping.keep[column]
                places.append((name, place))
        return places

    def _named(self, needed: tuple[str, ...], second_names: Mapping[str, str]) -> list[str]:
        """The normalised column names; blank for columns that are not kept."""
        names = ["" if is_index(name) else column_name(name) for name in self._table.header]
        for second, name in second_names.items():
            if name not in names and names.count(second) == 1:
                names[names.index(second)] = name
        # after the second names, one of which is class_name
        kept = (*KNOWN, "image", *SIZES, *CORNERS)
        header = self._table.header
        names = [
            name if name in kept or not may_identify(written) else ""
            for name, written in zip(names, header, strict=True)
        ]
        if "image" in names:
            needed = tuple(name for name in needed if name != "filename")
        missing = [name for name in needed if name not in names]
        if missing:
            raise (UnclearTable if any(header) else InvalidCsv)(
                f"{self._table.name} has no column {missing[0]!r}; its first line must name {', '.join(needed)}."
            )
        counted: Counter[str] = Counter()
        for place, name in enumerate(names):
            counted[name] += 1
            if name and counted[name] > 1:
                if name in (*KNOWN, *needed):
                    raise UnclearTable(f"{self._table.name} has two columns for {name!r}; keep one of them.")
                names[place] = f"{name}_{counted[name]}"
        return names

    def rows(self, skipped: list[str], beat: Callable[[], None]) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (line number, column -> value) for every row; add to `skipped` those that cannot be read."""
        for number, row in enumerate(self._table.rows, start=1):
            if number % ROWS_BETWEEN_BEATS == 0:
                beat()
            if row.problem:
                skipped.append(f"{self._table.name}, line {row.line}: {row.problem}")
                continue
            values = {name: value_of(row.cells[place]) for name, place in self._places}
            if any(values.values()):
                yield row.line, values


def _plain(name: str) -> str:
    return "sex" if is_sex_column(name) else "age" if is_age_column(name) else name


def _refuse_if_useless(path: Path, is_useful: bool, skipped: Sequence[str]) -> None:
    if not is_useful and skipped:
        others = len(skipped) - 1
        which = "" if not others else " The other row" if others == 1 else f" The other {others} rows"
        raise InvalidCsv(f"{skipped[0]}.{which and which + ' cannot be used either.'}")


def _ask_for_unknown_labels(path: Path, unknown: Counter[str], is_useful: bool, skipped: Sequence[str]) -> None:
    """Raise UnclearTable where a word for a label that Hilum does not know is one of the table's own words and no slip:
    it stands in several rows, or no row can be used."""
    words = [rows for rows in unknown.values() if rows > 1 or not is_useful]
    if words:
        first = next(reason for reason in skipped if "the label is unknown" in reason)
        raise UnclearTable(
            f"{path.name} has labels other than normal, abnormal, unsure and exclude: {len(words)} different, in "
            f"{sum(words)} row{'s' * (sum(words) > 1)}. Write one of the four, or say what they mean. "
            f"The first: {first}."
        )


def _ask_for_the_label(path: Path, table: _Columns, values: Mapping[str, set[str]]) -> None:
    """Raise UnclearTable where a column may hold the labels under another name, which is for a person to say."""
    if "label" in table.names:
        return
    for place, (name, written) in enumerate(zip(table.names, table.written, strict=True), start=1):
        normal = column_name(written)
        named_so = normal in LIKE_LABEL or not {"label", "labels"}.isdisjoint(normal.split("_"))
        if name not in KNOWN and (named_so or _may_be_labels(values.get(name, set()))):
            raise UnclearTable(
                f"{path.name} has no column 'label', but its column {_named(written, place)} may hold the labels. Name "
                "it label if it says normal, abnormal, unsure or exclude, or finding if it lists findings; if it is "
                "neither, add an empty column label."
            )


def _named(written: str, place: int) -> str:
    """The name of a column as a stored message may quote it."""
    is_usual = column_name(written) in LIKE_LABEL or column_words(written, place) == " ".join(written.split())[:40]
    return repr(written[:40]) if is_usual else f"number {place}"


def _may_be_labels(values: set[str]) -> bool:
    """Whether all values are labels, or few in all and one of them a word for normal."""
    says_normal = any(meaning_of_word(value) == "normal" for value in values)
    return bool(values) and (values <= set(LABELS) or (says_normal and len(values) <= MOST_LABELS))
