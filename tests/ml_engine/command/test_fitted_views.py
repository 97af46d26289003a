"""On the command line, too, a detector of frontal films scores no laterals, and says what it was fitted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_engine.command import main
from ml_engine.core import files
from tests.ml_engine import films


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films`` with views in labels.csv, and a detector of frontal ones in ``model``."""
    base = tmp_path_factory.mktemp("views")
    labels = films.write_set(base / "films", train=8, test=4)
    rows = films.read_csv(labels)
    for k, row in enumerate(rows):
        row["split"] = "fit" if k < 5 else "calibrate" if k < 8 else "test"
        row["projection"] = ("PA", "PA", "AP_horizontal", "", "PA", "AP", "PA", "PA", "PA", "LATERAL", "LL", "AP")[k]
    films.write_csv(labels, rows)
    assert fit(base, labels, base / "model") == 0
    return base


def fit(base: Path, labels: Path, out: Path) -> int:
    command = ["fit", "--images", str(base / "films"), "--csv", str(labels), "--out", str(out), "--detector", "dn2"]
    return main.main([*command, *films.UNALIGNED])


def score(base: Path, labels: Path, model: Path, out: Path) -> int:
    command = ["score", "--images", str(base / "films"), "--csv", str(labels), "--model", str(model)]
    return main.main([*command, "--out", str(out)])


def changed(base: Path, name: str, **columns: str | None) -> Path:
    """The labels with other values in columns, or without a column."""
    rows = films.read_csv(base / "films" / "labels.csv")
    for row in rows:
        for column, value in columns.items():
            if value is None:
                del row[column]
            elif row["split"] == "test":
                row[column] = value
    return films.write_csv(base / "films" / name, rows)


def test_laterals_are_left_out_and_said(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.read_json(world / "model" / "views.json") == {"": 1, "AP": 1, "PA": 3}
    assert score(world, world / "films" / "labels.csv", world / "model", tmp_path / "scores") == 0
    words = "2 rows left out: of another view (1 LATERAL, 1 LL) than the detector was fitted on (3 PA, 1 unknown, 1 AP)"
    assert words in capsys.readouterr().err
    scored = films.read_csv(tmp_path / "scores" / "scores.csv")
    assert [row["filename"] for row in scored] == ["film-08.png", "film-11.png"]


def test_laterals_alone_are_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = changed(world, "laterals.csv", projection="LATERAL")
    assert score(world, labels, world / "model", tmp_path / "scores") == 2
    assert "None of these films (4 LATERAL) is frontal, and the detector was fitted on 3 PA" in capsys.readouterr().err


def test_a_detector_of_laterals_scores_them(world: Path, tmp_path: Path) -> None:
    rows = films.read_csv(world / "films" / "labels.csv")
    labels = films.write_csv(world / "films" / "all-lateral.csv", [row | {"projection": "LATERAL"} for row in rows])
    assert fit(world, labels, tmp_path / "model") == 0
    assert score(world, labels, tmp_path / "model", tmp_path / "scores") == 0
    assert len(films.read_csv(tmp_path / "scores" / "scores.csv")) == 4


def test_without_the_column_all_films_are_scored(world: Path, tmp_path: Path) -> None:
    labels = changed(world, "no-views.csv", projection=None)
    assert score(world, labels, world / "model", tmp_path / "scores") == 0
    assert len(films.read_csv(tmp_path / "scores" / "scores.csv")) == 4
