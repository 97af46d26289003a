"""Run a run folder again and compare the results film by film."""

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
from ml_engine.engine import embedding_folder, fit_scores, manifest, scored_folder
from ml_engine.engine.outcome import Outcome
from ml_engine.engine.run_folder import Listener
from ml_engine.engine.stages.runner import run_folder

STARTING_FILES = ("run.json", "images.csv", "files", "inputs")  # what a run starts from
TOLERANCE = 1e-4  # relative, of scores on other threads or devices
SAME, WITHIN, DIFFERENT = "same", "within tolerance", "different"
# by kind of run: the arrays with one row per film, and the files that are compared as a whole
PER_FILM = {
    "score": tuple(scored_folder.ARRAYS[name] for name in ("maps", "original_from_canonical", "sweep")),
    "fit_detector": (),
    "fit_alignment": ("affines.npy",),
    "fit_head": (),
    "embedding": (embedding_folder.EMBEDDING,),
}
WHOLE = {
    "score": (scored_folder.SCORES, scored_folder.ARRAYS["semi_supervised_maps"]),
    "fit_detector": ("detector.safetensors", "mask.npy", fit_scores.SCORES),
    "fit_alignment": ("alignment.safetensors",),
    "fit_head": ("head.safetensors", "learning_curve.csv", "tune_scores.csv"),
    "embedding": (),  # places on another device differ as those of another seed do
}


@dataclass(frozen=True)
class FilmComparison:
    """The verdict (`SAME`, `WITHIN` or `DIFFERENT`) on the film or file ``name``, and the largest relative difference
    of its values, 0 if they are the same."""

    name: str
    verdict: str
    largest_difference: float


def repeat(folder: Path, out: Path, *, images: Path | None = None, listener: Listener | None = None) -> Outcome:
    """Run the specification of ``folder`` again in ``out``, with films from ``images``, by default from the folder.

    Raises EngineError if it is not a run folder, or if ``out`` is not empty.
    """
    if not (folder / "run.json").is_file():
        raise EngineError(f"{folder} is not a run folder: it has no run.json. Unpack the archive and name its folder.")
    if out.exists() and any(out.iterdir()):
        raise EngineError(f"{out} is not empty: name a new folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    for name in STARTING_FILES:
        source = folder / name
        if source.is_dir():
            shutil.copytree(source, out / name, copy_function=_link)
        elif source.is_file():
            shutil.copyfile(source, out / name)
    return run_folder(out, images=images or out, listener=listener)


def _link(source: str, target: str) -> None:
    files.link_or_copy(Path(source), Path(target))


def compare(first: Path, second: Path) -> list[FilmComparison]:
    """The films of two finished folders of one specification, one by one, then the files without a row per film.

    Raises EngineError if their films differ, or if one of them has no results.
    """
    kind = str(files.read_json(first / "run.json")["kind"])
    if kind not in PER_FILM:
        raise EngineError(f"A run of kind {kind} cannot be compared: choose one of kind {', '.join(PER_FILM)}.")
    rows = [row.filename for row in manifest.read(first / "images.csv")]
    if rows != [row.filename for row in manifest.read(second / "images.csv")]:
        raise EngineError(f"{first} and {second} hold different films: compare a run with its repetition.")
    comparisons = []
    if PER_FILM[kind]:
        pairs = [(_array(first, name, len(rows)), _array(second, name, len(rows))) for name in PER_FILM[kind]]
        comparisons = [_film(name, [(left[row], right[row]) for left, right in pairs]) for row, name in enumerate(rows)]
    for name in WHOLE[kind]:
        left, right = first / name, second / name
        if left.exists() or right.exists():
            comparisons.append(_file(name, left, right))
    return comparisons


def _array(folder: Path, name: str, rows: int) -> NDArray[np.float64]:
    try:
        array = files.open_npy(folder / name)
    except OSError:
        raise EngineError(f"{folder} has no {name}, so there is nothing to compare: finish the run first.") from None
    if len(array) != rows:
        raise EngineError(f"{folder / name} has {len(array)} rows for {rows} films: the folder is damaged.")
    return array


def _film(name: str, pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> FilmComparison:
    if all(np.array_equal(left, right, equal_nan=True) for left, right in pairs):
        return FilmComparison(name, SAME, 0.0)
    largest = max(_difference(np.asarray(left, np.float64), np.asarray(right, np.float64)) for left, right in pairs)
    return FilmComparison(name, WITHIN if largest <= TOLERANCE else DIFFERENT, largest)


def _difference(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """The largest absolute difference, divided by the largest absolute value of ``left``; infinite if the shapes differ
    or if a value is NaN in only one of them."""
    if left.shape != right.shape or not np.array_equal(np.isnan(left), np.isnan(right)):
        return float("inf")
    known = ~np.isnan(left)
    if not known.any():
        return 0.0
    largest_value = float(np.abs(left[known]).max())
    difference = float(np.abs(left[known] - right[known]).max())
    return difference / largest_value if largest_value else (0.0 if difference == 0 else float("inf"))


def _file(name: str, left: Path, right: Path) -> FilmComparison:
    """Compare two files byte for byte; if they differ and hold arrays or tensors, value by value."""
    if not (left.is_file() and right.is_file()):
        return FilmComparison(name, DIFFERENT, float("inf"))
    if files.sha256_of(left) == files.sha256_of(right):
        return FilmComparison(name, SAME, 0.0)
    left_values, right_values = _values(left), _values(right)
    if not left_values or not left_values.keys() <= right_values.keys():  # a later engine may write more
        return FilmComparison(name, DIFFERENT, float("inf"))
    return _film(name, [(left_values[key], right_values[key]) for key in left_values])


def _values(path: Path) -> dict[str, NDArray[np.float64]]:
    if path.suffix == ".csv":
        return _columns(path)
    if path.suffix == ".npy":
        return {"": files.open_npy(path)}
    if path.suffix == ".safetensors":
        return {key: tensor.double().numpy() for key, tensor in files.read_tensors(path)[0].items()}
    return {}


def _columns(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of numbers of a CSV; those of text as the numbers of their characters, so that they are compared."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    columns = {}
    for name in lines[0] if lines else ():
        texts = [line[name] or "" for line in lines]
        try:
            columns[name] = np.array([float(text) for text in texts])
        except ValueError:
            width = max(map(len, texts))
            columns[name] = np.array([[ord(c) for c in text.ljust(width)] for text in texts], np.float64)
    return columns


def table(comparisons: list[FilmComparison]) -> str:
    """The text of comparison.csv: filename, verdict, largest relative difference."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filename", "verdict", "largest_relative_difference"])
    writer.writerows([film.name, film.verdict, f"{film.largest_difference:.3g}"] for film in comparisons)
    return text.getvalue()


def summary(comparisons: list[FilmComparison]) -> str:
    """The number of films and files by verdict: "2 same, 1 different"."""
    counts = Counter(film.verdict for film in comparisons)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in (SAME, WITHIN, DIFFERENT) if counts[verdict])
