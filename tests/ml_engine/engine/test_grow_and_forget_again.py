"""Grow and forget with other models, other feature stores and earlier changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ml_engine.core.backbone import feature_store
from ml_engine.core.detector.pipeline import load_detector
from tests.ml_engine import films
from tests.ml_engine.engine.test_grow_and_forget import change, fit

FEW = [0, 1, 2, 3, 6, 7]  # films 0 and 1 are of one patient, 6 and 7 calibrate


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films`` and ``kept``, a model of a few of them that keeps its features."""
    base = tmp_path_factory.mktemp("again")
    films.write_set(base / "films", train=11, test=0)
    fit(base / "films", base / "kept", FEW, "--keep-features")
    return base


def forget(model: Path, out: Path, *more: str, patient: str = "p0") -> int:
    return change("forget", "--model", model, "--patient", patient, "--out", out, *more)


def grow(world: Path, model: Path, out: Path, number: int, *more: str) -> int:
    table = films.write_csv(
        out.with_suffix(".csv"),
        [{"filename": f"film-{number:02}.png", "label": "normal", "patient_id": f"p{number}", "split": "fit"}],
    )
    return change("grow", "--model", model, "--images", world / "films", "--csv", table, "--out", out, *more)


def test_the_folder_of_another_models_change_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same films, another setting."""
    other = fit(world / "films", tmp_path / "other", FEW, "--keep-features", "--rate", "0.4")
    assert forget(world / "kept", tmp_path / "n") == 0
    assert forget(world / "kept", tmp_path / "n") == 0  # again, with nothing left to do

    assert forget(other, tmp_path / "n") == 2

    assert "already holds another run" in capsys.readouterr().err
    assert load_detector(tmp_path / "n" / "detector.safetensors").config.rate == 0.2


def rekeyed(model: Path, **changes: object) -> None:
    """Store the model's features under a changed key, as on another device or by another version."""
    (folder,) = (model / feature_store.FOLDER).iterdir()
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    store = feature_store.FeatureStore(model / feature_store.FOLDER, key | changes)
    for path in folder.glob("*.safetensors"):
        path.rename(store.path(path.stem))
    shutil.rmtree(folder)


@pytest.mark.parametrize("changes", [{"on": "cuda"}, {"version": 0}])
def test_features_under_another_key_are_not_counted(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object]
) -> None:
    """Otherwise the grown detector would have only the new film, and the old films would be unreadable."""
    model = shutil.copytree(world / "kept", tmp_path / "m")
    rekeyed(model, **changes)

    assert forget(model, tmp_path / "n") == 2
    assert "keeps the features of 0 of its 6 films for this version and device (cpu)" in capsys.readouterr().err
    assert grow(world, model, tmp_path / "g", 9) == 2
    assert not (tmp_path / "n").exists()
    assert not (tmp_path / "g").exists()


def test_tune_films_are_kept_where_no_weight_is_chosen(world: Path, tmp_path: Path) -> None:
    """Their maps are not needed, but grow and forget need the features of all films to equal a fresh fit."""
    rows = [("fit", 0), ("fit", 2), ("fit", 3), ("calibrate", 6), ("calibrate", 7), ("tune", 8)]
    table = films.write_csv(
        tmp_path / "t.csv",
        [{"filename": f"film-{k:02}.png", "label": "normal", "patient_id": f"p{k}", "split": part} for part, k in rows],
    )
    common = ["--images", str(world / "films"), "--csv", str(table), *films.UNALIGNED, "--fusion-weight", "0.5"]
    assert change("fit", *common, "--out", tmp_path / "m", "--keep-features") == 0

    assert forget(tmp_path / "m", tmp_path / "n") == 0

    assert json.loads((tmp_path / "n" / "detector.json").read_text())["parts"]["tune"] == 1


def test_a_film_that_another_patient_has_too_stays(world: Path, tmp_path: Path) -> None:
    """The same file under two patients: one is forgotten, the other keeps the film."""
    images = shutil.copytree(world / "films", tmp_path / "films")
    shutil.copy(images / "film-00.png", images / "film-05.png")
    model = fit(images, tmp_path / "m", [*FEW, 5], "--keep-features")

    assert forget(model, tmp_path / "n") == 0

    assert json.loads((tmp_path / "n" / "detector.json").read_text())["unreadable"] == {}


@pytest.fixture
def by_folds(world: Path, tmp_path: Path) -> Path:
    """A model without a calibrate part."""
    return fit(world / "films", tmp_path / "folds", [0, 1, 2, 3, 4])


def test_a_detector_is_changed_approximately_twice(by_folds: Path, world: Path, tmp_path: Path) -> None:
    """Calibration by folds has no map of a film added later, and the note states both changes."""
    before = load_detector(by_folds / "detector.safetensors")
    assert grow(world, by_folds, tmp_path / "g", 9, "--approximate") == 0

    assert forget(tmp_path / "g", tmp_path / "n", "--approximate", patient="p2") == 0

    after = load_detector(tmp_path / "n" / "detector.safetensors")
    np.testing.assert_array_equal(after.calibration.maps, before.calibration.maps[[0, 1, 3, 4]])
    assert "not calibrated again" in after.note
    assert "a patient's vectors were deleted" in after.note
    assert "film-02.png" not in (tmp_path / "n" / "detector.json").read_text(encoding="utf-8")  # forgotten
    assert after.banks.whole.provenance[:, 0].max() == 4  # the film added later has moved up


def test_an_exact_detector_is_not_overwritten_by_an_approximate_one(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert forget(world / "kept", tmp_path / "n") == 0
    exact = (tmp_path / "n" / "detector.safetensors").read_bytes()

    assert forget(world / "kept", tmp_path / "n", "--approximate") == 2

    assert "already holds the exact detector" in capsys.readouterr().err
    assert (tmp_path / "n" / "detector.safetensors").read_bytes() == exact


def test_a_refused_approximate_change_leaves_no_folder(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "odd.png").write_bytes(b"no film")
    row = {"filename": "odd.png", "label": "normal", "patient_id": "p99", "split": "fit"}
    table = films.write_csv(tmp_path / "new.csv", [row])
    arguments = ("--images", tmp_path / "films", "--csv", table, "--out", tmp_path / "n", "--approximate")

    assert change("grow", "--model", world / "kept", *arguments) == 2

    assert "odd.png cannot be added: " in capsys.readouterr().err
    assert not (tmp_path / "n").exists()
