"""The published detectors through the same commands and files as PatchCore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ml_engine.command import main
from ml_engine.core import Detector, files
from ml_engine.core.config import DETECTORS, PipelineConfig
from ml_engine.core.detector.pipeline import load_detector, save_detector
from tests.ml_engine import films

BASELINES = [name for name in DETECTORS if name != "patchcore"]


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films``, and a model and scores of each baseline."""
    base = tmp_path_factory.mktemp("baselines")
    films.write_set(base / "films", train=12, tune_abnormal=2, test=4)
    common = ["--images", str(base / "films"), "--csv", str(base / "films" / "labels.csv")]
    for name in BASELINES:
        fit = ["fit", *common, "--out", str(base / name), "--detector", name, *films.UNALIGNED]
        assert main.main([*fit, "--set", "padim_dimensions=20"]) == 0
        assert main.main(["score", *common, "--model", str(base / name), "--out", str(base / f"{name}-s")]) == 0
    return base


@pytest.mark.parametrize("name", BASELINES)
def test_each_writes_the_files_that_patchcore_writes(world: Path, name: str) -> None:
    rows = films.read_csv(world / f"{name}-s" / "scores.csv")
    maps = np.load(world / f"{name}-s" / "maps.npy")

    assert [row["filename"] for row in rows] == [f"film-{k:02}.png" for k in range(14, 18)]
    assert maps.shape == (4, 2, 8, 8)
    np.testing.assert_array_equal(np.isnan(maps[0, 0]), ~np.load(world / name / "mask.npy"))
    assert np.isfinite([float(row["fused"]) for row in rows]).all()
    p_values = np.load(world / f"{name}-s" / "p_values.npy")
    assert ((p_values > 0) & (p_values <= 1)).all()


def test_p_values_count_a_patient_of_several_calibration_films_once(tmp_path: Path) -> None:
    labels = films.write_set(tmp_path / "films", train=12)
    rows = films.read_csv(labels)
    for k, row in enumerate(rows):
        row["patient_id"], row["split"] = f"p{k // 3}", "fit" if k < 6 else "calibrate" if k < 12 else "test"
    films.write_csv(labels, rows)
    common = ["--images", str(tmp_path / "films"), "--csv", str(labels)]
    fit = ["fit", *common, "--out", str(tmp_path / "model"), "--detector", "dn2", *films.UNALIGNED]
    assert main.main(fit) == 0
    assert main.main(["score", *common, "--model", str(tmp_path / "model"), "--out", str(tmp_path / "scores")]) == 0

    summary = files.read_json(tmp_path / "scores" / "score.json")
    by_patient: dict[int, list[float]] = {}
    for patient, score in zip(summary["calibration_patients"], summary["calibration_scores"], strict=True):
        by_patient.setdefault(patient, []).append(score)
    assert [len(scores) for scores in by_patient.values()] == [3, 3]
    fused = [float(row["fused"]) for row in films.read_csv(tmp_path / "scores" / "scores.csv")]
    expected = [(1 + sum(max(of) >= score for of in by_patient.values())) / 3 for score in fused]
    assert np.load(tmp_path / "scores" / "p_values.npy").tolist() == expected


@pytest.mark.parametrize("name", ["padim", "dn2"])
def test_with_one_map_the_weight_changes_nothing(world: Path, name: str) -> None:
    sweep = np.load(world / f"{name}-s" / "sweep.npy")

    np.testing.assert_allclose(sweep, np.broadcast_to(sweep[:, :1], sweep.shape), rtol=1e-5)
    assert "the fusion weight changes nothing" in files.read_json(world / name / "detector.json")["about"]


def test_spade_takes_its_published_image_score(world: Path) -> None:
    facts = files.read_json(world / "spade" / "detector.json")
    maps = np.load(world / "spade-s" / "maps.npy")

    assert facts["fusion_weight"] == 0
    whole = maps[:, 0][:, np.load(world / "spade" / "mask.npy")]
    assert (np.ptp(whole, axis=1) == 0).all()
    assert len(set(whole[:, 0].tolist())) == 4


@pytest.mark.parametrize("name", BASELINES)
def test_save_load_and_save_again_give_the_same_bytes(world: Path, tmp_path: Path, name: str) -> None:
    save_detector(load_detector(world / name / "detector.safetensors"), tmp_path / "d.safetensors")

    assert (tmp_path / "d.safetensors").read_bytes() == (world / name / "detector.safetensors").read_bytes()


@pytest.mark.parametrize("name", BASELINES)
def test_in_memory_without_a_calibrate_part_and_film_by_film(name: str) -> None:
    config = PipelineConfig(
        detector=name, weights="random", backbone="resnet18", size=64, mask=False, folds=3, threads=1, fusion_weight=0.0
    )
    normals = torch.stack([torch.from_numpy(films.film(k, side=64) / 255.0).float() for k in range(6)])
    detector = Detector.fit(normals, config)
    new = torch.stack([torch.from_numpy(films.film(k, abnormal=True, side=64) / 255.0).float() for k in (20, 21, 22)])

    together = detector.maps(new)

    assert detector.calibration.source == "fit, 3 folds of patients"
    for k in range(3):
        np.testing.assert_array_equal(detector.maps(new[k : k + 1])[0], together[k])


def test_explain_lists_films_or_is_refused(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = sorted((world / "films").glob("*.png"))[0]
    fitted = [row["filename"] for row in films.read_csv(world / "dn2" / "images.csv") if row["part"] == "fit"]

    options = ["--film", str(world / "films" / fitted[0]), "--neighbours", "2"]
    assert main.main(["explain", "--model", str(world / "dn2"), *options]) == 0
    nearest = json.loads(capsys.readouterr().out)["nearest"]
    assert [(film_neighbour["bank"], film_neighbour["rank"], film_neighbour["row"]) for film_neighbour in nearest] == [
        ("film", 1, -1),
        ("film", 2, -1),
    ]
    assert nearest[0]["filename"] == fitted[0]
    assert nearest[0]["distance"] < 1e-3 < nearest[1]["distance"]
    assert main.main(["explain", "--model", str(world / "padim"), "--film", str(film)]) == 2
    assert "compares a patch with a Gaussian" in capsys.readouterr().err


def test_forget_without_a_memory_bank_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(world / "padim"), "--patient", "p0", "--out", str(tmp_path / "n"), "--approximate"]

    assert main.main(["forget", *arguments]) == 2

    assert "The detector is PaDiM, which has no memory bank" in capsys.readouterr().err
