"""The reads of a head: a user's CSV of the pool, joined with the films of the model, and its file in a run folder.

A row with a label was read; a row without one is a film of the pool that nobody read, which the control of the
population needs. Rows of the model's fit part give the columns of the known normals. Films of calibrate and test are
refused. Does not import torch.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest
from ml_engine.engine.manifest import LINE, InvalidManifest, ManifestRow

GROUPS = ("site", "scanner", "view", "period")  # columns in which populations may differ
REFUSED = ("calibrate", "test")
MODEL_PARTS = ("fit", "tune", "calibrate")
ASSISTED = {"": False, "no": False, "false": False, "0": False, "yes": True, "true": True, "1": True}


@dataclass(frozen=True)
class ReadFilm:
    """What the CSV says of a film, in the manifest's order. ``verdict`` is empty where nobody read the film, ``weight``
    the inverse probability with which it was sampled for reading. ``model_shown`` if the verdict was given with the
    heatmap open: it trains, and is never a reference. ``is_in_pool`` unless only the model names the film."""

    filename: str
    is_in_pool: bool = False
    verdict: str = ""
    weight: float = 1.0
    model_shown: bool = False
    site: str = ""
    scanner: str = ""
    view: str = ""
    period: str = ""


COLUMNS = tuple(field.name for field in fields(ReadFilm))


@dataclass(frozen=True)
class Reads:
    """The films of a head's run: the model's, then the others of the CSV; ``films`` in the order of ``rows``."""

    rows: list[ManifestRow]
    films: list[ReadFilm]
    left_out: dict[str, int]

    @property
    def abnormal(self) -> int:
        return sum(film.verdict == "abnormal" for film in self.films)


def select(table: list[dict[str, str]], model: Sequence[ManifestRow], *, name: str) -> Reads:
    """The films of the CSV ``name`` (`manifest.read_csv`) and those of fit, tune and calibrate of the ``model``'s
    images.csv, without hashes of the new ones. Raises InvalidManifest, which names the line."""
    own = [row for row in model if row.part in MODEL_PARTS]
    place = {row.filename: k for k, row in enumerate(own)}
    part_of = {row.patient: row.part for row in own if row.patient}
    rows, films = list(own), [ReadFilm(row.filename) for row in own]
    left_out: Counter[str] = Counter()
    for line in table:
        filename, where = line["filename"], f"Line {line[LINE]} of {name}"
        patient = line.get("patient_id", "") or manifest.alone(filename)
        at = place.get(filename)
        part = own[at].part if at is not None else part_of.get(patient, "")
        _refuse_part(where, line.get("split", "").lower(), part)
        film = _film(line, where)
        if at is not None and own[at].part == "fit":
            if film.verdict == "abnormal":
                raise InvalidManifest(
                    f"{where}: the film is labelled abnormal and is one of the known normals that the model was fitted "
                    "on: fit the model again without it."
                )
            films[at] = replace(film, is_in_pool=False, verdict="", weight=1.0, model_shown=False)
            continue
        if film.verdict in ("unsure", "exclude"):
            left_out[f"labelled {film.verdict}"] += 1
            film = replace(film, is_in_pool=False, verdict="", weight=1.0, model_shown=False)
            if at is None:
                continue
        if at is None:
            rows.append(ManifestRow(filename, patient=patient, part=part if part == "tune" else ""))
            films.append(film)
        else:
            films[at] = film
    return Reads(rows, films, dict(left_out))


def _refuse_part(where: str, named: str, of_model: str) -> None:
    """Raises InvalidManifest for a film of calibrate or test, by the CSV's column split or by the model's films."""
    for part, how in ((named, "the film is in the"), (of_model, "the film, or its patient, is in the model's")):
        if part in REFUSED:
            raise InvalidManifest(
                f"{where}: {how} {part} part, and films of {part} are never used for a semi-supervised head: they "
                "would no longer be held out. Leave the line out."
            )


def _film(line: Mapping[str, str], where: str) -> ReadFilm:
    shown = line.get("model_shown", "").lower()
    if shown not in ASSISTED:
        raise InvalidManifest(f"{where}: model_shown is {shown[:20]!r}; write yes, no or nothing.")
    return ReadFilm(
        filename=line["filename"],
        is_in_pool=True,
        verdict=line.get("label", "").lower(),
        weight=_weight(line.get("weight", ""), where),
        model_shown=ASSISTED[shown],
        **{group: line.get(group, "") for group in GROUPS},
    )


def _weight(text: str, where: str) -> float:
    try:
        weight = float(text) if text else 1.0
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise InvalidManifest(
            f"{where}: the weight is {text[:20]!r}; write the inverse of the probability with which the film was drawn "
            "for reading, a number above 0, or nothing."
        )
    return weight


def refuse_copies(rows: Sequence[ManifestRow]) -> None:
    """Raises InvalidManifest for a film of the CSV that has the bytes of a calibrate or fit film of the model."""
    part_of = {row.sha256: row.part for row in rows if row.sha256 and row.part in ("calibrate", "fit")}
    for row in rows:
        if row.part not in ("calibrate", "fit") and row.sha256 in part_of:
            raise InvalidManifest(
                f"{row.filename} has the same content as a film of the model's {part_of[row.sha256]} part: leave the "
                "line out."
            )


# the file


def text_of(films: Sequence[ReadFilm]) -> bytes:
    """The content of inputs/reads.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for film in films:
        writer.writerow([_cell(getattr(film, name)) for name in COLUMNS])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, float) else str(value)


def read(path: Path, rows: Sequence[ManifestRow]) -> list[ReadFilm]:
    """The films of inputs/reads.csv, in the order of ``rows``. Raises EngineError where they are not those of
    images.csv."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            films = [_of_line(line) for line in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError("inputs/reads.csv is missing or damaged: request the run again.") from None
    if [film.filename for film in films] != [row.filename for row in rows]:
        raise EngineError(
            "inputs/reads.csv does not hold the films of images.csv in their order: request the run again."
        )
    return films


def _of_line(line: Mapping[str, str]) -> ReadFilm:
    return ReadFilm(
        filename=line["filename"],
        is_in_pool=ASSISTED[line["is_in_pool"]],
        verdict=line["verdict"],
        weight=float(line["weight"]),
        model_shown=ASSISTED[line["model_shown"]],
        **{group: line[group] for group in GROUPS},
    )


def sha256_of(films: Sequence[ReadFilm]) -> str:
    """The SHA-256 of inputs/reads.csv."""
    import hashlib

    return hashlib.sha256(text_of(films)).hexdigest()


def write(path: Path, films: Sequence[ReadFilm]) -> None:
    files.write_bytes(path, text_of(films))
