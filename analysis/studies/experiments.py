"""Scores and labels of the experiments of an ablation or a sweep: files and a mapping in, arrays out."""

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
    """Label, blank for none, and patient of a scored film."""

    label: str
    patient: str


Truth = Mapping[str, LabelledFilm]


@dataclass(frozen=True)
class FilmLabels:
    """Labels of films in the order of a scores.csv: ``abnormal`` (N,) int64 of 0 and 1, ``patients`` (N,), and
    ``known`` (N,) bool, whether a film is labelled normal or abnormal."""

    abnormal: NDArray[np.int64]
    patients: NDArray[np.str_]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class ExperimentScores:
    """An experiment's films in one part: their names, ``scores`` (N,) by column of scores.csv, ``sweep`` (N, 101), the
    score at each hundredth of the fusion weight, and ``rows`` (N,), their rows in the experiment's arrays."""

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


def read_experiment(folder: Path, experiment: Mapping[str, Any], *, part: str, name: Name) -> ExperimentScores:
    """The scores of an experiment in a part. Raises EngineError where its files are gone."""
    scores_folder = folder / experiment["scores"]
    try:
        scored = ScoredFolder(scores_folder).films
        parts = [row.part for row in manifest.read(scores_folder / "images.csv")]
        sweep = ScoredFolder(scores_folder).array("sweep")
    except (OSError, ValueError, EngineError):
        raise EngineError(
            f"The scores of “{experiment['words']}” are not in {folder.name} any more: run it again."
        ) from None
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
    """A film that is not in ``truth`` has no label, and is its own patient."""
    film_labels = [truth.get(film, LabelledFilm("", film)) for film in films]
    return FilmLabels(
        np.array([film.label == "abnormal" for film in film_labels], dtype=np.int64),
        np.array([film.patient for film in film_labels], dtype=np.str_),
        np.array([film.label in ("normal", "abnormal") for film in film_labels], dtype=np.bool_),
    )


def left_out(films: Sequence[str], truth: Truth) -> dict[str, int]:
    """The number of films without a usable label, by label."""
    words = Counter((truth[film].label if film in truth else "") or "unlabelled" for film in films)
    return {word: count for word, count in sorted(words.items()) if word not in ("normal", "abnormal")}


def truth_of_csv(table: Sequence[Mapping[str, str]]) -> dict[str, LabelledFilm]:
    """Labels by file name, from the rows of a user's CSV; a film without a patient is its own patient."""
    return {
        row["filename"]: LabelledFilm(row.get("label", "").lower(), row.get("patient_id", "") or row["filename"])
        for row in table
    }


def require_named(films: Sequence[str], truth: Truth, *, source: str, kind: str) -> None:
    """Raises EngineError where a scored film is not in the CSV."""
    missing = [film for film in films if film not in truth]
    if missing:
        raise EngineError(f"{source} does not name {missing[0]}, which was scored: give the CSV of the {kind}.")
