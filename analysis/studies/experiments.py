"""The scores of a run's cells joined with labels: files and a mapping in, arrays out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest
from ml_engine.engine.scored_folder import ScoredFolder

COLUMNS = ("global", "region", "fused")
Name = Literal["filename", "image"]  # the column of scores.csv that names a film


@dataclass(frozen=True)
class LabelledFilm:
    """What is known of a scored film: its label, blank for none, and its patient."""

    label: str
    patient: str


Truth = Mapping[str, LabelledFilm]


@dataclass(frozen=True)
class FilmLabels:
    """The films of a scores.csv in its order: ``abnormal`` (N,) int64 of 0 and 1, ``patients`` (N,), and ``known`` (N,)
    bool, whether a film is labelled normal or abnormal at all."""

    abnormal: NDArray[np.int64]
    patients: NDArray[np.str_]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class ExperimentScores:
    """A cell's films in one part: their names, ``scores`` by column of scores.csv, each (N,), and ``sweep`` (N, 101),
    the score at each hundredth of the fusion weight; ``rows`` (N,) are theirs in the cell's arrays."""

    films: list[str]
    scores: dict[str, NDArray[np.float64]]
    sweep: NDArray[np.float32]
    rows: NDArray[np.int64]


def read_summary(folder: Path, kind: str) -> dict[str, Any]:
    """The summary of a finished ablation or sweep. Raises EngineError."""
    try:
        summary: dict[str, Any] = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        article = "an" if kind == "ablation" else "a"
        raise EngineError(
            f"{folder} holds no finished {kind}: run {article} {kind} with python -m ml_engine {kind} --out {folder} "
            "first."
        ) from None
    return summary


def read_experiment(folder: Path, cell: Mapping[str, Any], *, part: str, name: Name) -> ExperimentScores:
    """The scores of a cell in a part. Raises EngineError where its files are gone."""
    place = folder / cell["scores"]
    try:
        scored = ScoredFolder(place).films
        parts = [row.part for row in manifest.read(place / "images.csv")]
        sweep = ScoredFolder(place).array("sweep")
    except (OSError, ValueError, EngineError):
        raise EngineError(f"The scores of “{cell['words']}” are not in {folder.name} any more: run it again.") from None
    rows = np.flatnonzero(np.array(parts) == part)
    return ExperimentScores(
        films=[getattr(scored[row], name) for row in rows],
        scores={
            "global": np.array([scored[row].whole for row in rows]),
            "region": np.array([scored[row].region for row in rows]),
            "fused": np.array([scored[row].fused for row in rows]),
        },
        sweep=np.asarray(sweep[rows]),
        rows=rows,
    )


def labels_of(films: Sequence[str], truth: Truth) -> FilmLabels:
    """A film that the truth does not name has no label, and is a patient of its own."""
    found = [truth.get(film, LabelledFilm("", film)) for film in films]
    return FilmLabels(
        np.array([film.label == "abnormal" for film in found], dtype=np.int64),
        np.array([film.patient for film in found], dtype=np.str_),
        np.array([film.label in ("normal", "abnormal") for film in found], dtype=np.bool_),
    )


def left_out(films: Sequence[str], truth: Truth) -> dict[str, int]:
    """Films of a part that no figure counts, by the reason."""
    words = Counter((truth[film].label if film in truth else "") or "unlabelled" for film in films)
    return {word: count for word, count in sorted(words.items()) if word not in ("normal", "abnormal")}


def truth_of_csv(table: Sequence[Mapping[str, str]]) -> dict[str, LabelledFilm]:
    """By file name, of a user's CSV; a row without a patient is its own."""
    return {
        row["filename"]: LabelledFilm(row.get("label", "").lower(), row.get("patient_id", "") or row["filename"])
        for row in table
    }


def require_named(films: Sequence[str], truth: Truth, *, source: str, kind: str) -> None:
    """Raises EngineError where a scored film is not in the CSV."""
    missing = [film for film in films if film not in truth]
    if missing:
        raise EngineError(f"{source} does not name {missing[0]}, which was scored: give the CSV of the {kind}.")
