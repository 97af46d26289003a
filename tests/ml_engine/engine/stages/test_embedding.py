"""The embedding map of small synthetic films, by the command line and by the run folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ml_engine.command import main
from ml_engine.engine.embedding_folder import LAYOUTS, EmbeddingFolder, NoMap
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine import films

SETTINGS = [*films.SMALL, "--map-neighbours", "4", "--epochs", "20"]


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


def embed(base: Path, out: str) -> int:
    table = base / "films" / "labels.csv"
    return main.main(
        ["embed", "--images", str(base / "films"), "--csv", str(table), *SETTINGS, "--out", str(base / out)]
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films``, the last of them unreadable, and their map ``out``."""
    base = tmp_path_factory.mktemp("embedding")
    films.write_set(base / "films", train=8, test=2)
    (base / "films" / "film-09.png").write_bytes(b"no picture")
    assert embed(base, "out") == ExitStatus.UNREADABLE
    return base


def test_every_readable_film_has_a_vector_two_places_and_its_neighbours(world: Path) -> None:
    results = EmbeddingFolder(world / "out")
    results.check()
    features, places = results.features(), results.places()
    assert features.dtype == np.float16 and features.shape[0] == 10
    assert places.shape == (10, len(LAYOUTS), 2)
    assert np.isfinite(features[:9]).all() and np.isfinite(places[:9]).all()
    assert np.isnan(features[9]).all() and np.isnan(places[9]).all()
    neighbours = results.neighbours()
    assert neighbours.shape == (10, 8) and (neighbours[9] == -1).all()
    assert all(sorted([film, *near]) == list(range(9)) for film, near in enumerate(neighbours[:9].tolist()))
    assert (np.diff(results.similarities()[:9]) <= 0).all()


def test_a_vector_is_the_mean_of_the_films_patches(world: Path) -> None:
    folder = world / "out"
    pooled = np.load(folder / "stages" / "pooled.npy")
    np.testing.assert_allclose(EmbeddingFolder(folder).features()[:9], pooled[:9], rtol=1e-3, atol=1e-4)


def test_the_folder_holds_no_label(world: Path) -> None:
    assert "abnormal" not in (world / "out" / "images.csv").read_text()


def test_the_same_map_again_has_the_same_bytes(world: Path) -> None:
    assert embed(world, "again") == ExitStatus.UNREADABLE
    assert films.result_bytes(world / "again") == films.result_bytes(world / "out")


def test_a_killed_run_goes_on_after_its_last_stage(world: Path) -> None:
    shutil.copytree(world / "out", world / "killed")
    folder = world / "killed"
    for name in ("embedding.npy", "layout.npy", "embedding.json"):
        (folder / name).unlink()
    for stage in ("results", "layout"):
        next((folder / "stages").glob(f"{stage}.json")).unlink()
    assert run_folder(folder, images=world / "films").status == ExitStatus.UNREADABLE
    assert (folder / "layout.npy").read_bytes() == (world / "out" / "layout.npy").read_bytes()


def test_a_wrong_plan_is_refused_in_a_sentence(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = world / "films" / "labels.csv"
    command = ["embed", "--images", str(world / "films"), "--csv", str(table), *SETTINGS]
    assert main.main([*command, "--map-neighbours", "1", "--out", str(world / "wrong")]) == ExitStatus.REFUSED
    assert "neighbours is 1: it must be a whole number from 2 to 50" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["embedding.npy", "layout.npy", "neighbours.npy", "embedding.json", "images.csv"])
def test_a_damaged_map_is_refused_in_a_sentence(world: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(world / "out", tmp_path / "map")
    (tmp_path / "map" / name).write_bytes(b"damaged")
    with pytest.raises(NoMap, match="make the map again"):
        EmbeddingFolder(tmp_path / "map").check()


def test_a_map_of_another_number_of_films_is_refused(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "out", tmp_path / "map")
    np.save(tmp_path / "map" / "layout.npy", np.zeros((3, 2, 2), np.float32))
    with pytest.raises(NoMap, match=r"layout.npy has the shape \(3, 2, 2\) for 10 films"):
        EmbeddingFolder(tmp_path / "map").check()


def test_a_feature_beyond_half_precision_is_kept_in_single(tmp_path: Path) -> None:
    EmbeddingFolder(tmp_path).write_features(np.array([[1e5, np.nan]], dtype=np.float32))
    assert np.load(tmp_path / "embedding.npy").dtype == np.float32


def test_run_json_names_the_plan(world: Path) -> None:
    assert json.loads((world / "out" / "run.json").read_text())["embedding"] == {"neighbours": 4, "epochs": 20}
