"""The films of a run: a user's CSV divided into parts, and the manifest ``images.csv`` of a run folder."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.score.calibration import LEAST_FILMS, require_calibration, too_few
from portal.intake.tables import value_of
from portal.labels.formula_cells import restored
from portal.sets.patient_draw import draw_train

FITTING = ("align", "fit", "tune", "calibrate")
PARTS = (*FITTING, "test")
LABELS = ("normal", "abnormal", "unsure", "exclude")
COLUMNS = ("image", "filename", "sha256", "patient", "part", "label")
LINE = ""  # the key of a CSV row's line number; no column has this name
HASH = "\0sha256"  # the key of the SHA-256 of a CSV row's file, where it is known (ml_engine.engine.csv_copies)
LONGEST_NAME = 255  # bytes, the limit of file systems


class InvalidManifest(EngineError):
    """A CSV or manifest lacks something or contradicts itself."""


@dataclass(frozen=True)
class ManifestRow:
    """A film of a run. ``filename`` is relative to the films' folder; ``label`` is empty if unknown."""

    filename: str
    image: str = ""
    sha256: str = ""
    patient: str = ""
    part: str = ""
    label: str = ""


@dataclass(frozen=True)
class Selection:
    """The rows that a command uses, in CSV order, the numbers of rows left out by reason, and the number of used rows
    without a patient."""

    rows: list[ManifestRow]
    left_out: dict[str, int]
    without_patient: int


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a user's CSV: stripped values by lower-case column name, and the line number under `LINE`. Every row
    has every column.

    UTF-8 with or without a byte order mark; comma, semicolon or tab. Raises InvalidManifest.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidManifest(f"There is no file {path}: name the CSV with --csv.") from None
    except UnicodeDecodeError:
        raise InvalidManifest(f"{path.name} is not UTF-8 text: save it as a CSV in UTF-8.") from None
    except OSError as problem:
        raise InvalidManifest(f"{path} could not be read: {problem.strerror}. Check its permissions.") from None
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    table = _numbered_lines(text, delimiter, path.name)
    if not table:
        raise InvalidManifest(f"{path.name} is empty: it needs a header line with the column filename.")
    names = _column_names(table[0][1], path.name)
    rows = [_row_by_column(names, cells, number, path.name) for number, cells in table[1:]]
    if not rows:
        raise InvalidManifest(f"{path.name} has a header line and no rows: it needs one row per film.")
    _check_rows(rows, path.name)
    return rows


def _numbered_lines(text: str, delimiter: str, name: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of its last line in the file."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except csv.Error:
        raise InvalidManifest(
            f"{name} cannot be read near line {reader.line_num}: most often a quotation mark is not closed."
        ) from None


def _column_names(header: list[str], name: str) -> list[str]:
    names = [cell.lower() for cell in header]
    if "filename" not in names:
        raise InvalidManifest(f"{name} has no column filename; its columns are {', '.join(names)}. Rename or add one.")
    for column in ("filename", "label", "patient_id", "split"):
        if names.count(column) > 1:
            raise InvalidManifest(f"{name} has {names.count(column)} columns {column}: rename or delete all but one.")
    return names


def _row_by_column(names: list[str], cells: list[str], number: int, name: str) -> dict[str, str]:
    """A line's values by column; values missing from a short line are empty, as are NA, NaN, None, null, #N/A and -."""
    if any(cells[len(names) :]):
        raise InvalidManifest(
            f"Line {number} of {name} has {len(cells)} values for {len(names)} columns: put a value that holds a "
            "comma into quotation marks."
        )
    values = {
        name: restored(cell) if name == "filename" else value_of(cell) for name, cell in zip(names, cells, strict=False)
    }
    return dict.fromkeys(names, "") | values | {LINE: str(number)}


def _check_rows(rows: list[dict[str, str]], name: str) -> None:
    first_line: dict[str, str] = {}
    for row in rows:
        line, filename, label = row[LINE], row["filename"], row.get("label", "").lower()
        if fault := _fault_of_path(filename):
            raise InvalidManifest(f"Line {line} of {name}: {fault}; write a path inside --images.")
        if filename in first_line:
            raise InvalidManifest(f"Lines {first_line[filename]} and {line} of {name} name the same film: delete one.")
        first_line[filename] = line
        if label and label not in LABELS:
            raise InvalidManifest(f"Line {line} of {name}: the label is {label!r}; write one of {', '.join(LABELS)}.")


def _fault_of_path(filename: str) -> str:
    """What is wrong with a relative path, in words; empty if nothing is."""
    pure = PurePosixPath(filename.replace("\\", "/"))
    if not filename:
        return "the filename is empty"
    if pure.is_absolute() or ".." in pure.parts or "\0" in filename:
        return f"the filename {filename[:80]!r} leads out of the folder"
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in pure.parts):
        return f"the filename {filename[:40]!r}… is longer than {LONGEST_NAME} bytes"
    return ""


def for_fit(table: list[dict[str, str]], *, preset: str, seed: int) -> Selection:
    """The rows that fitting uses, with their parts: align, fit, tune, calibrate (docs/method.md, "Nothing is chosen on
    test").

    Rows of split ``train`` are all fit under preset paper, otherwise their parts are drawn by patient. Without a
    ``split`` column every row is fit. Fit and calibrate hold normals only; without a ``label`` column every row is
    normal. Raises InvalidManifest if a patient is in two parts, or if no film is in fit.
    """
    rows = [_row(line, has_label="label" in table[0]) for line in table]
    left_out: Counter[str] = Counter()
    if "split" not in table[0]:
        rows = [replace(row, part="fit") for row in rows]
    refuse_shared_patients(table)
    train = [row for row in rows if row.part == "train"]
    if preset.startswith("paper"):
        part_of = {row.patient: "fit" for row in train if row.label == "normal"}
    else:
        part_of = draw_parts(train, seed=seed)
    kept = []
    for row in rows:
        if row.part == "train":
            row = replace(row, part=part_of.get(row.patient, "train"))
        reason = _why_left_out(row)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(row)
    if not any(row.part == "fit" for row in kept):
        raise InvalidManifest(
            "No normal film is in the fit part: the CSV needs rows with split train or fit, and label normal."
        )
    return Selection(kept, dict(left_out), sum(1 for row in kept if row.patient.startswith(_ALONE)))


def for_fit_and_score(table: list[dict[str, str]], *, preset: str, seed: int) -> Selection:
    """The rows of `for_fit` with parts and labels, and the rows of `for_score`, whose part is test, without labels."""
    fitting, scoring = for_fit(table, preset=preset, seed=seed), for_score(table)
    if "split" not in table[0]:
        raise InvalidManifest("The CSV needs the column split, with rows of split test to compare detectors on.")
    left_out = {reason: count for reason, count in fitting.left_out.items() if reason != "in the test part"}
    rows = [*fitting.rows, *scoring.rows]
    return Selection(rows, left_out, fitting.without_patient + scoring.without_patient)


def for_score(table: list[dict[str, str]]) -> Selection:
    """The rows that scoring uses, without labels: those with split test, or all if there is no ``split`` column."""
    rows = [replace(_row(line, has_label=False), label="") for line in table]
    if "split" in table[0]:
        kept = [row for row in rows if row.part == "test"]
        if not kept:
            raise InvalidManifest("No row of the CSV has split test: name the rows to score, or leave out the column.")
    else:
        kept = [replace(row, part="") for row in rows]
    left_out = {"not in the test part": len(rows) - len(kept)} if len(kept) < len(rows) else {}
    return Selection(kept, left_out, sum(1 for row in kept if row.patient.startswith(_ALONE)))


_ALONE = "film:"  # prefix of the patient of a row without patient_id: each counts as its own patient


def alone(filename: str) -> str:
    """The patient of a film without one: each such film counts as its own."""
    return _ALONE + filename


def _row(line: dict[str, str], *, has_label: bool) -> ManifestRow:
    filename = line["filename"]
    return ManifestRow(
        filename=filename,
        sha256=line.get(HASH, ""),
        patient=line.get("patient_id", "") or alone(filename),
        part=line.get("split", "").lower(),
        label=line.get("label", "").lower() if has_label else "normal",
    )


def refuse_shared_patients(table: list[dict[str, str]]) -> None:
    """Raises InvalidManifest if a patient is in two parts."""
    seen: dict[str, tuple[str, str]] = {}
    for cells in table:
        row = _row(cells, has_label=False)
        if row.part not in (*PARTS, "train"):
            continue
        line = cells.get(LINE, "?")
        first_line, part = seen.setdefault(row.patient, (line, row.part))
        if part != row.part:
            raise InvalidManifest(
                f"Lines {first_line} and {line} hold films of one patient in two parts, {part} and {row.part}: "
                "put all films of a patient into one."
            )


def _why_left_out(row: ManifestRow) -> str:
    """Why fitting leaves out a row; empty if it does not. A row still in `train` was not drawn into a part."""
    if row.part == "test":
        return "in the test part"
    if row.part not in (*FITTING, "train"):
        return "in no part"
    if row.label not in ("normal", "abnormal"):
        return "neither normal nor abnormal"
    if row.label == "abnormal" and row.part != "tune":
        return "abnormal, of a fit or calibrate patient"
    return ""


def draw_parts(rows: Sequence[ManifestRow], *, seed: int) -> dict[str, str]:
    """The part of each patient of `train`, drawn by the portal's rules (`draw_train`)."""
    labels: dict[str, set[str]] = {}
    for row in rows:
        if row.label in ("normal", "abnormal"):
            labels.setdefault(row.patient, set()).add(row.label)
    return draw_train({patient: "normal" not in own for patient, own in labels.items()}, seed=seed)


def alignment_part(parts: Iterable[str]) -> str:
    """The part that an alignment is fitted on: align if a film is in it, otherwise fit."""
    return "align" if "align" in parts else "fit"


def alignment_rows(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """The films that an alignment is fitted on."""
    part = alignment_part(row.part for row in rows)
    return [row for row in rows if row.part == part]


def check_parts(rows: Sequence[ManifestRow], config: PipelineConfig) -> None:
    """Raises EngineError if fit or calibrate holds a film that is not normal, or too few films to calibrate with."""
    for row in rows:
        if row.part in ("fit", "calibrate") and row.label not in ("normal", ""):
            raise InvalidManifest(
                f"{row.filename} is {row.label} and in the {row.part} part, which holds normals only: put it into tune "
                "or test, or leave it out."
            )
    calibrate = [row for row in rows if row.part == "calibrate"]
    if not calibrate:
        require_calibration(config)
    patients = {row.patient or row.filename for row in rows if row.part == "fit"}
    count, part = (len(calibrate), "calibrate") if calibrate else (len(patients), "fit")
    if config.standardise and count < LEAST_FILMS:
        raise too_few(count, part)


def with_hashes(rows: list[ManifestRow], folder: Path) -> list[ManifestRow]:
    """The rows with the SHA-256 of their files, empty for a missing file, which the run reports as unreadable.

    Raises InvalidManifest if all files are missing.
    """
    require_some_film(rows, folder)
    return hashed(rows, folder)


def require_some_film(rows: Sequence[ManifestRow], folder: Path) -> None:
    """Raises InvalidManifest if none of the films of a CSV is in the folder."""
    if not any((folder / row.filename).is_file() for row in rows):
        raise InvalidManifest(f"None of the {len(rows)} films that the CSV names is in {folder}: check --images.")


def hashed(rows: list[ManifestRow], folder: Path) -> list[ManifestRow]:
    """As `with_hashes`, also where all files are missing."""
    paths = [folder / row.filename for row in rows]
    hashes = [
        row.sha256 or (files.sha256_of(path) if path.is_file() else "") for row, path in zip(rows, paths, strict=True)
    ]
    return [replace(row, sha256=digest) for row, digest in zip(rows, hashes, strict=True)]


def require_some_file(rows: Sequence[ManifestRow], folder: Path) -> None:
    """Raises InvalidManifest if none of the films' files is in the folder."""
    if not any((folder / row.filename).is_file() for row in rows):
        raise InvalidManifest(
            f"None of the {len(rows)} files that images.csv names is in {folder}: name their folder with --images."
        )


def write(path: Path, rows: Sequence[ManifestRow], *, with_labels: bool) -> None:
    """Write ``images.csv``, without the column label unless ``with_labels``."""
    columns = COLUMNS if with_labels else COLUMNS[:-1]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(row, name) for name in columns] for row in rows)
    files.write_bytes(path, text.getvalue().encode())


def read(path: Path) -> list[ManifestRow]:
    """The rows of the manifest ``images.csv``. Raises InvalidManifest."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InvalidManifest("The run folder has no images.csv that can be read.") from None
    if not lines or "filename" not in lines[0]:
        raise InvalidManifest("images.csv needs the column filename and at least one row.")
    return [ManifestRow(**{name: line.get(name) or "" for name in COLUMNS}) for line in lines]
