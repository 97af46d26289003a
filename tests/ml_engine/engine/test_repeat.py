"""A run folder, archived, unpacked, run again and compared film by film."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ml_engine.command import main
from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import archive, repeat
from tests.ml_engine import films
from tests.ml_engine.films import SMALL


def run(*arguments: object) -> int:
    return main.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("repeat")
    table = films.write_set(base / "films", train=16, test=3)
    common = ["--images", base / "films", "--csv", table]
    assert run("fit", *common, "--out", base / "model", *SMALL, "--align", "none") == 0
    assert run("score", *common, "--model", base / "model", "--out", base / "scores") == 0
    embed = ["--map-neighbours", "3", "--epochs", "10", *SMALL]
    assert run("embed", *common, "--out", base / "map", *embed) == 0
    return base


def unpacked(folder: Path, into: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(b"".join(archive.stream(folder, name="a-run")))) as packed:
        assert packed.testzip() is None
        packed.extractall(into)
    return into / "a-run"


def verdicts(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["verdict"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("name", "compared"),
    [
        ("model", ["detector.safetensors", "mask.npy", "fit_scores.csv"]),
        ("scores", ["film-16.png", "film-17.png", "film-18.png", "scores.csv"]),
        ("map", [f"film-{number:02}.png" for number in range(19)]),
    ],
)
def test_an_unpacked_archive_gives_the_same(base: Path, tmp_path: Path, name: str, compared: list[str]) -> None:
    folder = unpacked(base / name, tmp_path)
    assert not (folder / "stages").exists()
    assert run("repeat", folder, "--out", tmp_path / "again", "--images", base / "films") == 0
    with (tmp_path / "again" / "comparison.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["filename"] for row in rows] == compared
    assert {row["verdict"] for row in rows} == {"same"}


def test_films_that_differ_are_named(base: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(base / "scores", changed)
    maps = np.load(changed / "maps.npy")
    maps[0] *= 1 + 1e-6
    maps[2] *= 1.01
    files.write_npy(changed / "maps.npy", maps)
    comparisons = repeat.compare(base / "scores", changed)
    assert [film.verdict for film in comparisons] == ["within tolerance", "same", "different", "same"]
    assert comparisons[0].largest_difference == pytest.approx(1e-6, rel=0.2)
    assert comparisons[2].largest_difference == pytest.approx(0.01, rel=0.01)
    assert repeat.summary(comparisons) == "2 same, 1 within tolerance, 1 different"


def test_a_changed_result_sets_the_exit_status(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = unpacked(base / "scores", tmp_path)
    sweep = np.load(folder / "sweep.npy")
    sweep[1, 3] = np.nan
    files.write_npy(folder / "sweep.npy", sweep)
    assert run("repeat", folder, "--out", tmp_path / "again", "--images", base / "films") == 5
    assert "1 different" in capsys.readouterr().err
    assert verdicts(tmp_path / "again" / "comparison.csv")[1] == "different"


def test_tensors_are_compared_by_value(base: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(base / "model", changed)
    tensors, header = files.read_tensors(changed / "detector.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel() > 4)
    files.write_tensors(changed / "detector.safetensors", tensors | {name: tensors[name] * (1 + 1e-6)}, header)
    assert repeat.compare(base / "model", changed)[0].verdict == "within tolerance"
    files.write_tensors(changed / "detector.safetensors", tensors | {name: tensors[name][:-1]}, header)
    assert repeat.compare(base / "model", changed)[0].verdict == "different"
    (changed / "detector.safetensors").unlink()
    assert repeat.compare(base / "model", changed)[0].verdict == "different"


def test_an_impossible_repetition_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"is not a run folder: it has no run\.json\. Unpack the archive"):
        repeat.repeat(tmp_path, tmp_path / "again")
    with pytest.raises(EngineError, match=r"is not empty: name a new folder with --out"):
        repeat.repeat(base / "scores", base / "model")
    other = tmp_path / "other"
    shutil.copytree(base / "scores", other)
    (other / "maps.npy").unlink()
    with pytest.raises(EngineError, match=r"has no maps\.npy, so there is nothing to compare"):
        repeat.compare(base / "scores", other)
    files.write_npy(other / "maps.npy", np.zeros((2, 2, 2, 2), np.float32))
    with pytest.raises(EngineError, match=r"has 2 rows for 3 films: the folder is damaged"):
        repeat.compare(base / "scores", other)
    with pytest.raises(EngineError, match=r"hold different films: compare a run with its repetition"):
        repeat.compare(base / "scores", base / "model")
    request = files.read_json(other / "run.json")
    files.write_json(other / "run.json", request | {"kind": "ablation"})
    with pytest.raises(EngineError, match=r"A run of kind ablation cannot be compared: choose one of kind score, fit"):
        repeat.compare(other, other)
