"""Run a run folder again and say, film by film, whether it gives the same."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import fit_scores, manifest, scored_folder
from ml_engine.engine.outcome import Outcome
from ml_engine.engine.run_folder import Listener
from ml_engine.engine.stages.runner import run_folder

ASKED = ("run.json", "images.csv", "files", "inputs")  # what a run begins with
TOLERANCE = 1e-4  # relative, of scores on other threads or devices
SAME, WITHIN, DIFFERENT = "same", "within tolerance", "different"
# of each kind: the arrays with a row a film, and the files that have to be equal as they are
PER_FILM = {
    "score": tuple(scored_folder.ARRAYS[name] for name in ("maps", "original_from_canonical", "sweep")),
    "fit_detector": (),
    "fit_alignment": ("affines.npy",),
}
WHOLE = {
    "score": (scored_folder.SCORES,),
    "fit_detector": ("detector.safetensors", "mask.npy", fit_scores.SCORES),
    "fit_alignment": ("alignment.safetensors",),
}


@dataclass(frozen=True)
class FilmComparison:
    """filename and what became of it; `farthest` is the largest relative difference of its values, 0 where same."""

    name: str
    words: str
    farthest: float


def repeat(folder: Path, out: Path, *, images: Path | None = None, listener: Listener | None = None) -> Outcome:
    """Run ``folder``'s request anew in ``out``, with films from ``images``, by default those of the folder itself.

    Raises EngineError where it is no run folder, or ``out`` is not empty.
    """
    if not (folder / "run.json").is_file():
        raise EngineError(f"{folder} is no run folder: it has no run.json. Unpack the archive and name its folder.")
    if out.exists() and any(out.iterdir()):
        raise EngineError(f"{out} is not empty: name a new folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    for name in ASKED:
        source = folder / name
        if source.is_dir():
            shutil.copytree(source, out / name, copy_function=_link)
        elif source.is_file():
            shutil.copyfile(source, out / name)
    return run_folder(out, images=images or out, listener=listener)


def _link(source: str, target: str) -> None:
    files.link_or_copy(Path(source), Path(target))


def compare(first: Path, second: Path) -> list[FilmComparison]:
    """The films of two finished folders of one request, one by one, then the files that have no row a film.

    Raises EngineError where they hold other requests, or one has no results.
    """
    kind = str(files.read_json(first / "run.json")["kind"])
    if kind not in PER_FILM:
        raise EngineError(f"A run of kind {kind} is not compared: {', '.join(PER_FILM)} are.")
    rows = [row.filename for row in manifest.read(first / "images.csv")]
    if rows != [row.filename for row in manifest.read(second / "images.csv")]:
        raise EngineError(f"{first} and {second} hold other films: compare a run with its repetition.")
    found = []
    if PER_FILM[kind]:
        pairs = [(_array(first, name, len(rows)), _array(second, name, len(rows))) for name in PER_FILM[kind]]
        found = [_film(name, [(one[row], other[row]) for one, other in pairs]) for row, name in enumerate(rows)]
    for name in WHOLE[kind]:
        one, other = first / name, second / name
        if one.exists() or other.exists():
            found.append(_file(name, one, other))
    return found


def _array(folder: Path, name: str, rows: int) -> NDArray[np.float64]:
    try:
        array = files.open_npy(folder / name)
    except OSError:
        raise EngineError(
            f"{folder} has no {name}: the run did not end well, so there is nothing to compare."
        ) from None
    if len(array) != rows:
        raise EngineError(f"{folder / name} has {len(array)} rows for {rows} films: the folder is damaged.")
    return array


def _film(name: str, pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> FilmComparison:
    if all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
        return FilmComparison(name, SAME, 0.0)
    farthest = max(_distance(np.asarray(one, np.float64), np.asarray(other, np.float64)) for one, other in pairs)
    return FilmComparison(name, WITHIN if farthest <= TOLERANCE else DIFFERENT, farthest)


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The largest difference, over the largest value of the film; infinite where one side only is NaN."""
    if one.shape != other.shape or not np.array_equal(np.isnan(one), np.isnan(other)):
        return float("inf")
    known = ~np.isnan(one)
    if not known.any():
        return 0.0
    largest = float(np.abs(one[known]).max())
    apart = float(np.abs(one[known] - other[known]).max())
    return apart / largest if largest else (0.0 if apart == 0 else float("inf"))


def _file(name: str, one: Path, other: Path) -> FilmComparison:
    """Equal byte for byte, or, of arrays and tensors, value by value as films are."""
    if not (one.is_file() and other.is_file()):
        return FilmComparison(name, DIFFERENT, float("inf"))
    if files.sha256_of(one) == files.sha256_of(other):
        return FilmComparison(name, SAME, 0.0)
    first, second = _values(one), _values(other)
    if not first or first.keys() != second.keys():
        return FilmComparison(name, DIFFERENT, float("inf"))
    return _film(name, [(first[key], second[key]) for key in first])


def _values(path: Path) -> dict[str, NDArray[np.float64]]:
    if path.suffix == ".npy":
        return {"": files.open_npy(path)}
    if path.suffix == ".safetensors":
        return {key: tensor.double().numpy() for key, tensor in files.read_tensors(path)[0].items()}
    return {}


def table(verdicts: list[FilmComparison]) -> str:
    """comparison.csv: filename, verdict, largest relative difference."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filename", "verdict", "largest_relative_difference"])
    writer.writerows([one.name, one.words, f"{one.farthest:.3g}"] for one in verdicts)
    return text.getvalue()


def summary(verdicts: list[FilmComparison]) -> str:
    counts = Counter(one.words for one in verdicts)
    return ", ".join(f"{counts[words]} {words}" for words in (SAME, WITHIN, DIFFERENT) if counts[words])
