"""The fit films' scores load as they were written, and missing or damaged files are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ml_engine.core import files
from ml_engine.engine.fit_scores import FitScore, FitScores, FitScoresMissing

FILMS = [
    FitScore("a", "a, b.png", fold=0, whole=1 / 3, region=2.5, fused=0.1 + 0.2, p_value=0.5),
    FitScore("", "c.png", fold=4, whole=1e-9, region=-2.0, fused=7.0, p_value=1.0),
]
MAPS = np.array([[[[1.0, np.nan]], [[2.0, 3.0]]]] * 2, dtype=np.float32)


def written(path: Path) -> FitScores:
    files.write_npy(path / "made.npy", MAPS)
    FitScores(path).write(FILMS, path / "made.npy")
    return FitScores(path)


def test_films_and_maps_come_back_with_all_their_digits(tmp_path: Path) -> None:
    scores = written(tmp_path)
    assert scores.is_there
    assert scores.films() == FILMS
    np.testing.assert_array_equal(scores.maps(), MAPS)


def test_the_columns_stay(tmp_path: Path) -> None:
    written(tmp_path)
    head, first, _ = (tmp_path / "fit_scores.csv").read_text().splitlines()
    assert head == "image,filename,fold,global,region,fused,p_value"
    assert first == f'a,"a, b.png",0,{1 / 3!r},2.5,{0.1 + 0.2!r},0.5'


def test_films_that_were_not_scored_have_no_files(tmp_path: Path) -> None:
    assert not FitScores(tmp_path).is_there


def damage(path: Path) -> None:
    path.write_bytes(b"\xff")


def rename_a_column(path: Path) -> None:
    path.write_text(path.read_text().replace("fused", "renamed"))


@pytest.mark.parametrize("spoil", [Path.unlink, damage, rename_a_column])
def test_missing_or_damaged_scores_are_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    scores = written(tmp_path)
    spoil(tmp_path / "fit_scores.csv")
    with pytest.raises(FitScoresMissing, match=r"fit_scores.csv is missing or damaged: fit the detector again"):
        scores.films()


@pytest.mark.parametrize("spoil", [Path.unlink, damage])
def test_missing_or_damaged_maps_are_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    scores = written(tmp_path)
    spoil(tmp_path / "fit_maps.npy")
    with pytest.raises(FitScoresMissing, match=r"fit_maps.npy is missing or damaged: fit the detector again"):
        scores.maps()
