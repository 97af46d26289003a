"""A bank study on small synthetic films: each bank gives the same scores as a detector from fit."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml_engine.command import main
from ml_engine.core import Detector
from ml_engine.core import files as kept
from ml_engine.core.bank import memory_bank
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector.pipeline import normal_scores
from ml_engine.core.film.preprocess import prepare
from ml_engine.engine import manifest
from ml_engine.engine.decode_films import decode_film
from ml_engine.engine.stages.bank_study import method
from tests.ml_engine import films

STUDY = ["--shares", "0.3,0.6,1", "--repeats", "2", "--contaminations", "0,0.1"]
ALIGNED = ["--set", "alignment.size=32", "--set", "alignment.epochs=1", "--set", "alignment.rounds=1"]
ALIGNED += ["--set", "alignment.method=network", "--set", "alignment.perceptual=0", "--set", "alignment.local_ncc=0"]
ALIGNED += ["--set", "alignment.consistency=0", "--set", "alignment.guard_valid_area=0", "--set", "alignment.batch=4"]
PLAIN = [*films.UNALIGNED, "--no-mask", "--set", "fusion_choice=config"]


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


def films_and_csv(base: Path) -> list[str]:
    return ["--images", str(base / "films"), "--csv", str(base / "films" / "labels.csv")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films`` and a finished study ``out``."""
    base = tmp_path_factory.mktemp("bank")
    films.write_set(base / "films", train=22, tune_abnormal=3, test=6)
    assert main.main(["bank-study", *films_and_csv(base), *PLAIN, *STUDY, "--out", str(base / "out")]) == 0
    return base


def summary(world: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((world / "out" / "bank_study.json").read_text())
    return facts


def test_the_whole_clean_bank_scores_as_a_plain_fit_does(world: Path, tmp_path: Path) -> None:
    assert main.main(["fit", *films_and_csv(world), *PLAIN, "--out", str(tmp_path / "m")]) == 0
    assert (
        main.main(["score", *films_and_csv(world), "--model", str(tmp_path / "m"), "--out", str(tmp_path / "s")]) == 0
    )

    lines = films.read_csv(tmp_path / "s" / "scores.csv")
    plain = np.array([[float(line[name]) for name in ("global", "region", "fused")] for line in lines])
    first = np.load(world / "out" / "scores.npy")[0]
    assert summary(world)["cells"][0]["name"] == "whole"
    assert first.tobytes() == plain.tobytes()
    normals = json.loads((tmp_path / "s" / "score.json").read_text())["calibration_scores"]
    assert np.sort(np.load(world / "out" / "calibration.npy")[0, :, 2]).tolist() == pytest.approx(normals, abs=1e-12)


def test_every_bank_equals_a_detector_of_its_films(world: Path) -> None:
    """Recomputed in memory from the films that the study lists for each bank."""
    rows = manifest.read(world / "out" / "images.csv")
    study = summary(world)
    config = method(PipelineConfig.from_json(study["config"]))

    def stack(of_rows: list[manifest.ManifestRow]) -> torch.Tensor:
        return torch.stack([prepare(decode_film(world / "films" / row.filename), config).image for row in of_rows])

    def part(name: str) -> list[manifest.ManifestRow]:
        return [row for row in rows if row.part == name]

    checked = 0
    for k, bank in enumerate(study["cells"]):
        if bank["name"] not in ("share-030000-1", "abnormal-010000-0"):
            continue
        normals = part("fit")
        if bank["share"] < 1:
            from ml_engine.engine.study_plans import draw_films

            patients = [row.patient for row in normals]
            normals = [normals[film] for film in draw_films(patients, round(0.3 * len(patients)), (0, 1))]
        normals += [row for row in part("tune") if row.filename in bank["injected"]]
        assert len(normals) == bank["normal_films"] + bank["abnormal_films"]
        detector = Detector.fit(stack(normals), config, calibrate=stack(part("calibrate")))
        scores = detector.scores(detector.maps(stack(part("test"))))
        expected = np.stack([scores.whole, scores.region, scores.fused], axis=1)
        np.testing.assert_allclose(np.load(world / "out" / "scores.npy")[k], expected, rtol=1e-6)
        np.testing.assert_allclose(
            np.load(world / "out" / "calibration.npy")[k, :, 2], normal_scores(detector), rtol=1e-6
        )
        checked += 1
    assert checked == 2


def test_the_summary_lists_the_films_of_the_banks(world: Path) -> None:
    study = summary(world)
    assert study["parts"] == {"fit": 16, "abnormal": 3, "calibrate": 3, "test": 6}
    by_name = {bank["name"]: bank for bank in study["cells"]}
    assert by_name["whole"]["normal_films"] == 16 and by_name["whole"]["injected"] == []
    assert by_name["share-060000-0"]["normal_films"] == 10
    assert by_name["abnormal-010000-1"]["abnormal_films"] == 2
    assert by_name["abnormal-010000-1"]["seed"] == [0, 1]
    table = films.read_csv(world / "out" / "scores.csv")
    assert [float(line["abnormal-010000-1"]) for line in table] == np.load(world / "out" / "scores.npy")[
        -1, :, 2
    ].tolist()


def test_no_label_of_test_and_no_normal_film_of_tune_is_in_the_folder(world: Path) -> None:
    rows = manifest.read(world / "out" / "images.csv")
    assert {row.label for row in rows if row.part == "test"} == {""}
    assert {row.label for row in rows if row.part == "tune"} == {"abnormal"}


def test_an_interrupted_study_is_resumed(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["bank-study", *films_and_csv(world), *PLAIN, *STUDY, "--out", str(tmp_path / "out")]
    builds = []

    def full_disk(*args: Any, **kwargs: Any) -> Any:
        builds.append(1)
        if len(builds) == 3:
            raise OSError(errno.ENOSPC, "no space")
        return memory_bank_build(*args, **kwargs)

    memory_bank_build = memory_bank.build
    monkeypatch.setattr(memory_bank, "build", full_disk)
    assert main.main(command) == 2
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "stages").glob("*.npy")}
    assert (tmp_path / "out" / "stages" / "scores-share-030000-0.npy") in done
    assert main.main(command) == 0

    assert len(builds) == 3 + 5
    assert {path: path.stat().st_mtime_ns for path in done if path.exists()} == {
        path: then for path, then in done.items() if path.exists()
    }
    for name in ("scores.npy", "calibration.npy", "scores.csv", "bank_study.json"):
        assert (tmp_path / "out" / name).read_bytes() == (world / "out" / name).read_bytes()


def test_a_contamination_out_of_reach_is_refused_before_any_film_is_read(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bank-study", *films_and_csv(world), *PLAIN, "--contaminations", "0.3", "--out", str(tmp_path / "out")]
    assert main.main(command) == 2
    assert (
        "needs 7 abnormal films in tune beside the 16 normal films of fit, and there are 3" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--detector", "padim"], "only PatchCore has a memory bank"),
        (["--shares", "2"], "shares is 2"),
        (["--alignment", "no.safetensors"], "align is none"),
    ],
)
def test_invalid_options_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    assert main.main(["bank-study", *films_and_csv(world), *PLAIN, *more, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err


def test_the_alignment_of_the_option_is_used(world: Path, tmp_path: Path) -> None:
    quick = [*ALIGNED, "--align", "network"]
    shares = ["--shares", "0.5", "--repeats", "1", "--contaminations", "0"]
    first = ["bank-study", *films_and_csv(world), *films.SMALL, *quick, *shares, "--out", str(tmp_path / "first")]
    assert main.main(first) == 0
    alignment = tmp_path / "first" / "alignment.safetensors"
    again = [*first[:-1], str(tmp_path / "again"), "--alignment", str(alignment)]
    assert main.main(again) == 0
    assert (tmp_path / "again" / "bank_study.json").read_bytes() == (
        tmp_path / "first" / "bank_study.json"
    ).read_bytes()
    assert json.loads((tmp_path / "again" / "bank_study.json").read_text())["alignment_sha256"] == kept.sha256_of(
        alignment
    )
