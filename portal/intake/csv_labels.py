"""The CSV of labels: filename, label, patient_id, projection, split, finding, attributes. A column image, with the UUID
of a film that is in the dataset, may take the place of filename. Further columns are kept, except those that may
identify a person.

The whole CSV is checked before anything is imported: a single wrong value imports nothing. An error message names the
line and the column but never quotes the value: the message is stored and shown to every member, and where columns are
shifted, the value may be a patient's name.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from portal.imaging.views import placement_of_word, quoted, view_of_word

LABELS = ("normal", "abnormal", "unsure", "exclude", "")
ATTRIBUTES = ("device", "post-operative", "variant", "old fracture", "poor inspiration")  # of normal films
_KNOWN = ("filename", "label", "patient_id", "projection", "split", "finding", "attributes")
# Other names of a known column, without spaces, hyphens and underscores.
_SPELLINGS = {
    "file": "filename",
    "filepath": "filename",
    "imagefile": "filename",
    "imagefilename": "filename",
    "imageindex": "filename",  # NIH
    "imageuuid": "image",
    "imagename": "filename",
    "imagepath": "filename",
    "patientid": "patient_id",
    "patientidentifier": "patient_id",
    "patientno": "patient_id",
    "patientnumber": "patient_id",
    "patient": "patient_id",
    "pid": "patient_id",
    "subject": "patient_id",
    "subjectid": "patient_id",
    "viewposition": "projection",
    "findings": "finding",
    "attribute": "attributes",
}
# A column may identify a person if its name contains one of these words, or one of these strings anywhere in it. In
# doubt, a column is left out: values stored with a film cannot be removed later.
_IDENTIFYING_WORDS = frozenset({"dob", "fax", "initials", "mrn", "nhs", "ssn", "street", "uid", "zip"})
_IDENTIFYING = (
    *("accession", "address", "birth", "email", "hospitalid", "hospitalnumber", "instanceuid", "insurance"),
    *("medicalrecord", "name", "nationalid", "passport", "patientid", "phone", "physician", "postalcode", "postcode"),
    *("socialsecurity",),
)
LARGEST_CSV = 200 * 2**20  # bytes
LONGEST_NAME = 255  # characters


class InvalidCsv(Exception):
    """The message is shown to the user and names the line."""


@dataclass(frozen=True)
class CsvRow:
    filename: str
    label: str = ""
    patient_id: str = ""
    projection: str = ""  # a known view
    unknown_projection: str = ""  # the word of the CSV where it is no known view, or its shape
    split: str = ""
    findings: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    columns: frozenset[str] = frozenset(_KNOWN)  # the known columns that the CSV has
    image: str = ""  # the UUID of a film that is in the dataset
    left_out: tuple[str, ...] = ()  # names of columns that are not kept, since they may identify a person


@dataclass(frozen=True)
class Box:
    """A box in original pixels; (x, y) is its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    finding: str = ""

    def to_json(self) -> dict[str, float | str]:
        return {"x": self.x, "y": self.y, "width": self.width, "height": self.height, "finding": self.finding}


def read_labels(path: Path) -> dict[str, CsvRow]:
    """Return rows by file name. Raises InvalidCsv."""
    rows: dict[str, CsvRow] = {}
    lines_of: dict[str, int] = {}
    needed = () if "image" in read_columns(path) else ("filename",)
    left_out, lines = _table(path, needed)
    for line, values in lines:
        row = _label_row(path, line, values, left_out)
        if row.filename in rows:
            raise InvalidCsv(
                f"{path.name}, line {line}: line {lines_of[row.filename]} names the same file; "
                "keep one row for each file."
            )
        rows[row.filename], lines_of[row.filename] = row, line
    if not rows:
        raise InvalidCsv(f"{path.name} has no rows below its header; add at least one file.")
    return rows


def read_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """Return boxes by file name, in the order of the CSV. Raises InvalidCsv."""
    boxes: dict[str, tuple[Box, ...]] = {}
    needed = (
        ("x", "y", "width", "height") if "image" in read_columns(path) else ("filename", "x", "y", "width", "height")
    )
    for line, values in _table(path, needed)[1]:
        name = _filename(path, line, values.get("filename", _image_uuid(values.get("image", ""))))
        boxes[name] = (*boxes.get(name, ()), _box(path, line, values))
    return boxes


def read_columns(path: Path) -> list[str]:
    """Return the column names in the first line, normalised by `column_name`. Raises InvalidCsv."""
    text = _text(path)
    first = [text.split("\n", 1)[0]]
    try:
        return [column_name(name) for name in next(csv.reader(first, delimiter=_delimiter(text)), [])]
    except csv.Error as error:
        raise _unreadable(path, 1, error) from error


def column_name(header: str) -> str:
    """Return the normalised name: patient_id for 'PatientID', 'patient id' and 'Patient-ID'; in lower case, with _ for
    spaces, for an unknown column."""
    name = re.sub(r"[\s_-]+", "_", header.strip().lower()).strip("_")
    joined = name.replace("_", "")
    for column in _KNOWN:
        if joined == column.replace("_", ""):
            return column
    return _SPELLINGS.get(joined, name)


def may_identify(header: str) -> bool:
    """Whether a further column may identify a person, judged by its name, not by its values."""
    if column_name(header) in _KNOWN:
        return False
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", header).lower()
    words = spaced.replace("patient", " patient ").split()
    return (
        bool(_IDENTIFYING_WORDS.intersection(words))
        or any(word.endswith("date") for word in words)
        or any(part in "".join(words) for part in _IDENTIFYING)
    )


def _label_row(path: Path, line: int, values: Mapping[str, str], left_out: tuple[str, ...]) -> CsvRow:
    label = values.get("label", "").lower()
    if label not in LABELS:
        raise InvalidCsv(
            f"{path.name}, line {line}: the label is unknown; write normal, abnormal, unsure or exclude, "
            "or leave it empty."
        )
    findings = _separated(values.get("finding", ""))
    projection = values.get("projection", "")
    image = _image_uuid(values.get("image", ""))
    if "filename" not in values and not image:
        raise InvalidCsv(
            f"{path.name}, line {line}: the image is not the UUID of a film; enter that, or add a column filename."
        )
    further = {key: value for key, value in values.items() if key not in _KNOWN and value}
    if image:
        further.pop("image")
    if placement := placement_of_word(projection):
        further["projection as written"] = placement
    return CsvRow(
        filename=_filename(path, line, values.get("filename", image)),
        label=label,
        patient_id=values.get("patient_id", ""),
        projection=view_of_word(projection) or "",
        unknown_projection=quoted(projection) if view_of_word(projection) is None else "",
        split=values.get("split", "").lower()[:20],
        findings=findings,
        extra=further,
        attributes=_attributes(path, line, label, values.get("attributes", "")),
        columns=frozenset(values).intersection(_KNOWN),
        left_out=left_out,
        image=image,
    )


def _image_uuid(text: str) -> str:
    """The UUID in its usual form; blank for anything else, which is a further column of this name."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def _separated(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _attributes(path: Path, line: int, label: str, text: str) -> tuple[str, ...]:
    attributes = {part.lower() for part in _separated(text)}
    if not attributes <= set(ATTRIBUTES):
        raise InvalidCsv(
            f"{path.name}, line {line}: an attribute is unknown; write {', '.join(ATTRIBUTES)}, "
            "several with | in between, or leave it empty."
        )
    if attributes and label != "normal":
        raise InvalidCsv(
            f"{path.name}, line {line}: only films with the label normal have attributes; leave them empty."
        )
    return tuple(attribute for attribute in ATTRIBUTES if attribute in attributes)


def _filename(path: Path, line: int, text: str) -> str:
    """The file name with / between folders, as in a zip, even if the CSV was written on Windows."""
    name = text.replace("\\", "/").removeprefix("./")
    if not name:
        raise InvalidCsv(f"{path.name}, line {line}: the file name is empty; enter the name of the file.")
    if len(name) > LONGEST_NAME:
        raise InvalidCsv(
            f"{path.name}, line {line}: the file name has {len(name)} characters; "
            f"shorten the file's name to {LONGEST_NAME} at most."
        )
    return name


def _box(path: Path, line: int, values: Mapping[str, str]) -> Box:
    numbers = []
    for column in ("x", "y", "width", "height"):
        try:
            number = float(values[column])
        except ValueError:
            number = float("nan")
        if not -1e6 < number < 1e6 or (column in ("width", "height") and number <= 0):
            raise InvalidCsv(
                f"{path.name}, line {line}: {column} is not a valid number; enter a number of pixels"
                f"{' above 0' if column in ('width', 'height') else ''}."
            )
        numbers.append(number)
    x, y, width, height = numbers
    return Box(x, y, width, height, finding=values.get("finding", ""))


def _table(path: Path, needed: tuple[str, ...]) -> tuple[tuple[str, ...], Iterator[tuple[int, dict[str, str]]]]:
    """The names of the columns that are left out, and the rows without them."""
    text = _text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [(name or "").strip() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise _unreadable(path, reader.line_num, error) from error
    left_out = tuple(name for name in header if may_identify(name))
    reader.fieldnames = _columns(path, header, needed)
    return tuple(" ".join(name.split())[:40] for name in left_out), _lines(path, reader)


def _lines(path: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, column -> stripped text) for every row that is not blank, without unnamed columns."""
    try:
        for values in reader:
            if None in values:
                raise InvalidCsv(
                    f"{path.name}, line {reader.line_num}: more values than columns; put values with commas in quotes."
                )
            stripped = {key: (value or "").strip() for key, value in values.items() if key}
            if any(stripped.values()):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise _unreadable(path, reader.line_num, error) from error


def _unreadable(path: Path, line: int, error: csv.Error) -> InvalidCsv:
    return InvalidCsv(f"{path.name}, line {line}: this is not valid CSV ({error}).")


def _columns(path: Path, header: Sequence[str], needed: tuple[str, ...]) -> list[str]:
    """The normalised column names; blank for columns that are left out."""
    names = ["" if may_identify(name) else column_name(name) for name in header]
    missing = [name for name in needed if name not in names]
    if missing:
        raise InvalidCsv(f"{path.name} has no column {missing[0]!r}; its first line must name {', '.join(needed)}.")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InvalidCsv(f"{path.name} has two columns for {twice[0]!r}; keep one of them.")
    return names


def _text(path: Path) -> str:
    if not path.is_file():
        raise InvalidCsv(f"There is no CSV file {path.name}; check the path.")
    if path.stat().st_size > LARGEST_CSV:
        raise InvalidCsv(f"{path.name} is larger than {LARGEST_CSV // 2**20} MiB; split it into several files.")
    data = path.read_bytes()
    # Excel's "Unicode text" is UTF-16 with a byte order mark; without the mark only the other two are tried.
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:  # databases do not store NUL in text
            break
        return text
    raise InvalidCsv(f"{path.name} is neither UTF-8 nor Windows-1252 text; save it as CSV UTF-8.")


def _delimiter(text: str) -> str:
    """The most frequent of comma, semicolon and tab in the header: spreadsheets in much of Europe write semicolons."""
    header = text.split("\n", 1)[0]
    return max((",", ";", "\t"), key=header.count)
