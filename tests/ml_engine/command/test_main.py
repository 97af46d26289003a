"""``python -m ml_engine fit`` and ``score``, as a user types them."""

from __future__ import annotations

import argparse
import errno
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_engine.command import main, parsers
from ml_engine.command.options import config_from_options
from ml_engine.command.prepare_run import films_for_next
from ml_engine.command.score import config_for_model
from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.backbone.features import random_state
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector.pipeline import load_detector, save_detector
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine import decode_films
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.prepared_films import PreparedFilms
from tests.ml_engine import films
from tests.ml_engine.films import SMALL, UNALIGNED, engine

FAST_ALIGNMENT = [
    "--set", "alignment.method=network", "--set", "alignment.size=32", "--set", "alignment.epochs=3",
    "--set", "alignment.batch=4", "--set", "alignment.perceptual=0", "--set", "alignment.local_ncc=0",
    "--set", "alignment.consistency=0", "--set", "alignment.fallback=false",
]  # fmt: skip


@dataclass(frozen=True)
class World:
    images: Path
    csv: Path
    data: Path
    model: Path
    scores: Path


def run(*arguments: object) -> int:
    """The command line in this process."""
    return main.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A set of films, a model fitted on its train rows and the scores of its test rows."""
    base = tmp_path_factory.mktemp("cli")
    csv = films.write_set(base / "films", train=20, tune_abnormal=3, test=6)
    paths = World(base / "films", csv, base / "data", base / "model", base / "scores")
    result = engine("fit", "--images", paths.images, "--csv", csv, "--out", paths.model, *UNALIGNED, data=paths.data)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    common = ["score", "--images", paths.images, "--csv", csv]
    result = engine(*common, "--model", paths.model, "--out", paths.scores, data=paths.data)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    return paths


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The sentence that a refused command prints."""
    capsys.readouterr()
    assert run(*arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("ml_engine: ")
    return last.removeprefix("ml_engine: ")


def fit_arguments(world: World, out: Path, *more: object) -> list[object]:
    return ["fit", "--images", world.images, "--csv", world.csv, "--out", out, *UNALIGNED, *more]


def test_scores_come_in_csv_order_with_the_named_columns(world: World) -> None:
    table = films.read_csv(world.scores / "scores.csv")
    maps, affines = np.load(world.scores / "maps.npy"), np.load(world.scores / "affines.npy")

    assert list(table[0]) == ["filename", "global", "region", "fused", "mean_z", "top_z", "error", "notice"]
    wanted = [row["filename"] for row in films.read_csv(world.csv) if row["split"] == "test"]
    assert [row["filename"] for row in table] == wanted
    assert (maps.shape, maps.dtype) == ((6, 2, 8, 8), np.float32)
    assert (affines.shape, affines.dtype) == ((6, 2, 3), np.float64)
    np.testing.assert_array_equal(np.isnan(maps[0, 0]), ~np.load(world.model / "mask.npy"))
    assert {row["error"] for row in table} == {""}


def test_a_film_has_the_same_scores_in_any_batch_and_order(world: World, tmp_path: Path) -> None:
    together = {row["filename"]: row for row in films.read_csv(world.scores / "scores.csv")}
    rows = [row for row in films.read_csv(world.csv) if row["split"] == "test"]
    for name, part in (("alone", rows[-1:]), ("reversed", rows[::-1])):
        table = films.write_csv(tmp_path / f"{name}.csv", part)
        arguments = ["score", "--images", world.images, "--csv", table, "--model", world.model]
        assert engine(*arguments, "--out", tmp_path / name, data=world.data).returncode == 0
        again = films.read_csv(tmp_path / name / "scores.csv")
        assert again == [together[row["filename"]] for row in part]


def test_abnormal_films_score_higher(world: World) -> None:
    fused = [float(row["fused"]) for row in films.read_csv(world.scores / "scores.csv")]

    assert min(fused[1::2]) > max(fused[0::2])


def test_the_weight_was_chosen_on_tune_and_the_random_weights_are_named(world: World) -> None:
    detector, score = files.read_json(world.model / "detector.json"), files.read_json(world.scores / "score.json")

    assert detector["parts"] == {"fit": 14, "tune": 6, "calibrate": 3}
    assert (detector["fusion_source"], detector["tune"]["abnormal"]) == ("tune", 3)
    assert len(detector["tune"]["auroc"]) == 101
    assert score["fusion_weight"] == detector["fusion_weight"]
    for facts in (detector, score, files.read_json(world.scores / "run.json")):
        assert facts["weights"] == {"name": "random", "sha256": None}


def test_the_engine_never_sees_a_label_of_the_test_part(world: World) -> None:
    assert "label" not in (world.scores / "images.csv").read_text()
    assert "test" not in (world.model / "images.csv").read_text()


def test_the_same_command_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    engine(*fit_arguments(world, tmp_path / "m"), data=world.data)

    for name in ("detector.safetensors", "detector.json", "mask.npy"):
        assert (tmp_path / "m" / name).read_bytes() == (world.model / name).read_bytes(), name


def test_another_seed_gives_another_model(world: World, tmp_path: Path) -> None:
    assert run(*fit_arguments(world, tmp_path / "m", "--seed", "1")) == 0

    assert (tmp_path / "m" / "images.csv").read_text() != (world.model / "images.csv").read_text()


def test_fit_again_into_the_same_folder_does_nothing_twice(world: World) -> None:
    before = (world.model / "detector.safetensors").stat().st_mtime_ns

    assert run(*fit_arguments(world, world.model)) == 0

    assert (world.model / "detector.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--rate", "0.3"], "rate = 0.2, and 0.3 was requested"), (["--set", "alignment.epochs=9"], "another config")],
)
def test_another_fit_into_a_folder_that_is_taken_is_refused(
    world: World, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    sentence = refused(capsys, *fit_arguments(world, world.model, *more))

    assert words in sentence
    assert "Choose another --out, or delete it" in sentence


def test_a_fit_with_alignment_keeps_it_beside_the_detector(world: World, tmp_path: Path) -> None:
    model, scores = tmp_path / "m", tmp_path / "s"
    common = ["--images", world.images, "--csv", world.csv]

    assert run("fit", *common, "--out", model, *SMALL, "--align", "network", *FAST_ALIGNMENT) == 0
    assert run("score", *common, "--model", model, "--out", scores) == 0

    alignment = files.sha256_of(model / "alignment.safetensors")
    assert files.read_json(model / "detector.json")["alignment_sha256"] == alignment
    assert files.read_json(scores / "score.json")["alignment_sha256"] == alignment
    assert not np.allclose(np.load(scores / "affines.npy"), [[1.25, 0, 0], [0, 1.25, 0]])
    report = files.read_json(model / "alignment-run" / "alignment.json")
    assert (report["part"], report["films"]) == ("fit", 14)


@pytest.mark.parametrize("size", ["64", "32"])
def test_films_are_decoded_once_where_alignment_and_detector_take_the_same(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    decoded: list[str] = []

    def counted(path: Path, **given: Any) -> Any:
        decoded.append(path.name)
        return decode(path, **given)

    decode = decode_films.decode_film
    monkeypatch.setattr(decode_films, "decode_film", counted)
    settings = [*SMALL, "--align", "network", *FAST_ALIGNMENT, "--set", f"alignment.size={size}"]
    fit = ["fit", "--images", world.images, "--csv", world.csv, *settings]

    assert run(*fit, "--out", tmp_path / "shared") == 0
    times = Counter(decoded)
    monkeypatch.setattr(PreparedFilms, "keep", lambda *_: None)
    assert run(*fit, "--out", tmp_path / "apart") == 0

    aligned = {row["filename"] for row in films.read_csv(tmp_path / "shared" / "alignment-run" / "images.csv")}
    assert len(aligned) == 14
    assert {times[name] for name in aligned} == {1 if size == "64" else 2}
    for name in ("alignment.safetensors", "detector.safetensors"):
        assert files.sha256_of(tmp_path / "shared" / name) == files.sha256_of(tmp_path / "apart" / name)


def test_films_of_a_part_of_their_own_are_not_kept_for_the_detector() -> None:
    film = np.zeros((8, 8), np.float32), np.zeros(4, np.int64), np.eye(2, 3)
    for part, is_kept in (("align", False), ("fit", True)):
        rows = [ManifestRow("a.png", part=part), ManifestRow("b.png", part="fit")]
        kept = films_for_next(rows)
        kept.keep("a", film)
        assert (kept.take("a") is not None) is is_kept


def test_an_unreadable_film_is_a_nan_row_and_status_3(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(world.images, tmp_path / "films")
    (tmp_path / "films" / "film-24.png").write_bytes(b"not a film")
    (tmp_path / "films" / "film-26.png").unlink()

    status = run(
        "score", "--images", tmp_path / "films", "--csv", world.csv, "--model", world.model, "--out", tmp_path / "s"
    )  # fmt: skip

    assert status == 3
    assert "2 films could not be read" in capsys.readouterr().err
    table, maps = films.read_csv(tmp_path / "s" / "scores.csv"), np.load(tmp_path / "s" / "maps.npy")
    assert [bool(row["error"]) for row in table] == [False, True, False, True, False, False]
    assert [row["fused"] for row in table if row["error"]] == ["nan", "nan"]
    assert np.isnan(maps[[1, 3]]).all()
    np.testing.assert_array_equal(maps[[0, 2, 4, 5]], np.load(world.scores / "maps.npy")[[0, 2, 4, 5]])


def test_a_fit_leaves_out_what_it_cannot_read(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.images, tmp_path / "films")
    fit = [row["filename"] for row in films.read_csv(world.model / "images.csv") if row["part"] == "fit"]
    (tmp_path / "films" / fit[0]).write_bytes(b"not a film")

    status = run("fit", "--images", tmp_path / "films", "--csv", world.csv, "--out", tmp_path / "m", *UNALIGNED)

    assert status == 3
    assert len(files.read_json(tmp_path / "m" / "detector.json")["unreadable"]) == 1
    assert (tmp_path / "m" / "detector.safetensors").exists()


def test_scoring_a_csv_without_split_takes_every_row(world: World, tmp_path: Path) -> None:
    csv = films.write_csv(tmp_path / "all.csv", [{"filename": f"film-{k:02}.png"} for k in (28, 3, 23)])

    assert run("score", "--images", world.images, "--csv", csv, "--model", world.model, "--out", tmp_path / "s") == 0

    table = films.read_csv(tmp_path / "s" / "scores.csv")
    assert [row["filename"] for row in table] == ["film-28.png", "film-03.png", "film-23.png"]


@pytest.mark.parametrize("option", [("--fusion-weight", "1"), ("--set", "fusion-weight=1")])
def test_a_fusion_weight_can_be_given_when_scoring(world: World, tmp_path: Path, option: tuple[str, str]) -> None:
    common = ["score", "--images", world.images, "--csv", world.csv, "--model", world.model]

    assert run(*common, "--out", tmp_path / "s", *option) == 0

    for row in films.read_csv(tmp_path / "s" / "scores.csv"):
        assert row["fused"] == row["region"]
    np.testing.assert_array_equal(np.load(tmp_path / "s" / "maps.npy"), np.load(world.scores / "maps.npy"))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (["false_alarm_rate=0.34"], "for a false-alarm rate of 34.0%, without a guarantee"),
        (
            ["false_alarm_rate=0.01"],
            "no threshold: A false-alarm rate of 0.01 needs normal films of at least 99 patients",
        ),
        (["threshold=percentile"], "a percentile of normal patches"),
    ],
)
def test_fit_prints_the_threshold(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: list[str], words: str
) -> None:
    csv = films.write_csv(tmp_path / "c.csv", films.read_csv(world.csv)[:5])

    arguments = ["fit", "--images", world.images, "--csv", csv, "--out", tmp_path / "m", *UNALIGNED]
    assert run(*arguments, "--set", *setting) == 0

    assert words in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--fusion-weight", "0.3"), ("--set", "fusion_weight=0.3")])
def test_a_fusion_weight_given_to_fit_is_not_chosen_again(
    world: World, tmp_path: Path, option: tuple[str, str]
) -> None:
    assert run(*fit_arguments(world, tmp_path / "m", *option)) == 0

    facts = files.read_json(tmp_path / "m" / "detector.json")
    assert (facts["fusion_weight"], facts["fusion_source"]) == (0.3, "config")


def test_settings_of_the_model_may_be_repeated_when_scoring_but_not_changed(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["score", "--images", world.images, "--csv", world.csv, "--model", world.model, "--out", tmp_path / "s"]

    assert run(*common, *UNALIGNED, "--preset", "default") == 0
    assert "size is 96, but the model was fitted with 64" in refused(capsys, *common, "--size", "96")
    assert "preset is paper" in refused(capsys, *common, "--preset", "paper")
    assert "fusion_choice is config, but" in refused(capsys, *common, "--set", "fusion_choice=config")


def test_preset_paper_fits_on_all_of_train_with_its_own_score(world: World, tmp_path: Path) -> None:
    assert run(*fit_arguments(world, tmp_path / "m", "--preset", "paper", "--no-mask")) == 0

    facts = files.read_json(tmp_path / "m" / "detector.json")
    assert facts["parts"] == {"fit": 20, "tune": 0, "calibrate": 0}
    assert facts["calibration"] == {
        "source": "none: there is no calibrate part, and cross_fit is off",
        "films": 0,
    }
    assert (facts["config"]["neighbours"], facts["config"]["distance"], facts["fusion_weight"]) == (9, "squared", 0.6)
    assert facts["bank"] == {"global": 256, "cells": [64] * 4}


def test_weights_from_a_file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))
    file = tmp_path / "own.safetensors"
    files.write_tensors(file, random_state("resnet18", 0), {})
    options = [o if o != "random" else file for o in UNALIGNED]

    assert run("fit", "--images", world.images, "--csv", world.csv, "--out", tmp_path / "m", *options) == 0

    facts = files.read_json(tmp_path / "m" / "detector.json")
    assert facts["weights"] == {"name": facts["config"]["weights"], "sha256": files.sha256_of(file)}
    assert str(tmp_path) not in (tmp_path / "m" / "run.json").read_text()
    common = ["--images", world.images, "--csv", world.csv, "--model", tmp_path / "m", "--weights", file]
    assert run("score", *common, "--out", tmp_path / "s") == 0
    maps = np.load(tmp_path / "s" / "maps.npy")  # the same weights by another name
    np.testing.assert_array_equal(maps, np.load(world.scores / "maps.npy"))


def test_missing_imagenet_weights_are_a_sentence_before_any_work(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))
    known = weights.KNOWN["resnet18"]
    nowhere = weights.KnownFile("resnet18", "http://127.0.0.1:9/resnet18.pth", known.digest)
    monkeypatch.setitem(weights.KNOWN, "resnet18", nowhere)
    options = [o if o != "random" else "imagenet" for o in UNALIGNED]

    sentence = refused(capsys, "fit", "--images", world.images, "--csv", world.csv, "--out", tmp_path / "m", *options)

    assert "could not be downloaded" in sentence
    assert "python manage.py weights import FILE" in sentence
    assert not (tmp_path / "m").exists()


def test_absent_weights_are_refused_before_a_film_is_read(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The films are nowhere: if one were read, the sentence would say so."""
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))
    nowhere = tmp_path / "nowhere"
    absent = "The ImageNet weights of vgg19 are not on this machine."
    fit = [
        "--images",
        nowhere,
        "--csv",
        world.csv,
        "--out",
        tmp_path / "m",
        *SMALL,
        "--set",
        "alignment.method=network",
    ]
    fit += ["--set", "alignment.perceptual=1"]
    for command in (["fit"], ["bank-study"], ["ablation", "--mask"], ["sweep", "--axis", "seed=0,1"]):
        assert absent in refused(capsys, command[0], *fit, *command[1:])

    detector = load_detector(world.model / "detector.safetensors")
    model = tmp_path / "model"
    model.mkdir()
    save_detector(replace(detector, config=detector.config.replace(weights="gone")), model / "detector.safetensors")
    score = ["--images", nowhere, "--csv", world.csv, "--model", model, "--out", tmp_path / "s"]
    for name in ("score", "blind-spots"):
        assert "There are no weights called 'gone' in the weights folder" in refused(capsys, name, *score)


def test_a_run_folder_whose_weights_are_absent_reads_no_film(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))
    spec = files.read_json(world.model / "run.json")
    spec["config"]["weights"] = "imagenet"
    files.write_json(tmp_path / "run" / "run.json", spec)
    shutil.copyfile(world.model / "images.csv", tmp_path / "run" / "images.csv")

    assert run("run", tmp_path / "run") == 2
    assert "The ImageNet weights of resnet18 are not on this machine." in capsys.readouterr().out
    assert not (tmp_path / "run" / "stages" / "inputs.npy").exists()


BAD_FITS = {
    "no csv": (["--csv", "none.csv"], "There is no file none.csv"),
    "images elsewhere": (["--images", "nowhere"], "is in nowhere: check --images"),
    "rate": (["--rate", "7"], "rate is 7.0: it must be from"),
    "size": (["--size", "100"], "size is 100: it must be a multiple of 32"),
    "backbone": (["--backbone", "resnet19"], "Did you mean resnet18?"),
    "network": (["--backbone", "timm:vit_tiny_patch16_225"], "near it are timm:vit_tiny_patch16_224"),
    "patch": (["--backbone", "timm:vit_tiny_patch14_224", "--size", "64"], "a multiple of 14, the patch of timm"),
    "field": (["--set", "colour=red"], "colour is not a setting"),
    "assignment": (["--set", "rate"], "write FIELD=VALUE"),
    "weights": (["--weights", "mine"], "weights is 'mine'"),
    "perceptual": (["--align", "network", "--set", "alignment.method=network"], "alignment.perceptual=0"),
    "gpu": (["--device", "cuda"], "there is no usable NVIDIA GPU here"),
}


@pytest.mark.parametrize("name", BAD_FITS)
def test_bad_input_to_fit_is_one_sentence(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))
    more, words = BAD_FITS[name]

    assert words in refused(capsys, *fit_arguments(world, tmp_path / "m", *more))


def test_a_full_disk_is_one_sentence(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "run.json")

    monkeypatch.setattr("ml_engine.core.files.write_json", full)

    words = "run.json: The disk is full: free some space and retry"
    assert words in refused(capsys, *fit_arguments(world, tmp_path / "m"))


def test_a_path_that_cannot_be_written_is_one_sentence(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "run.json").write_text("{")

    assert "taken: File exists. Check the paths" in refused(capsys, *fit_arguments(world, tmp_path / "taken"))
    assert "Not a directory" in refused(capsys, *fit_arguments(world, tmp_path / "taken" / "m"))
    assert "a run.json that cannot be read" in refused(capsys, *fit_arguments(world, tmp_path / "m"))


def test_too_few_patients_are_refused_before_the_alignment(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"filename": f"film-{k:02}.png", "patient_id": "one", "split": "fit"} for k in range(4)]
    csv = films.write_csv(tmp_path / "one.csv", rows)

    sentence = refused(
        capsys, "fit", "--images", world.images, "--csv", csv, "--out", tmp_path / "m", *SMALL, *FAST_ALIGNMENT
    )

    assert "at least 2 patients in the fit part, and it has 1" in sentence
    assert not (tmp_path / "m").exists()


def test_an_unreadable_film_of_the_align_part_is_counted(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = films.read_csv(world.csv)
    for row in rows[:4]:
        row["split"] = "align"
    rows.append(rows[0] | {"filename": "gone.png", "patient_id": "gone"})
    csv = films.write_csv(tmp_path / "set.csv", rows)
    options = [*SMALL, *FAST_ALIGNMENT]

    assert run("fit", "--images", world.images, "--csv", csv, "--out", tmp_path / "m", *options) == 3
    assert "1 films could not be read" in capsys.readouterr().err


def test_bad_input_to_score_is_one_sentence(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["score", "--images", world.images, "--csv", world.csv, "--out", tmp_path / "s"]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "detector.safetensors").write_bytes(b"x")

    assert "holds no detector.safetensors: name the folder that fit wrote" in refused(
        capsys, *common, "--model", tmp_path
    )
    assert "not a complete safetensors file" in refused(capsys, *common, "--model", broken)
    aligned = shutil.copytree(world.model, tmp_path / "aligned")
    detector = load_detector(aligned / "detector.safetensors")
    save_detector(replace(detector, config=detector.config.replace(align="network")), aligned / "detector.safetensors")
    assert "holds no alignment.safetensors, which its detector needs" in refused(capsys, *common, "--model", aligned)
    csv = films.write_csv(tmp_path / "x.csv", [{"filename": "film-00.png", "split": "train"}])
    assert "No row of the CSV has split test" in refused(capsys, *common, "--model", world.model, "--csv", csv)


def test_an_unknown_option_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["fit"], ["fit", "--colour"], ["dream"], []):
        with pytest.raises(SystemExit) as end:
            main.main(arguments)
        assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


NAMED = (
    "--images --csv --out --preset --size --backbone --weights --rate --neighbours --distance --grid --mask --no-mask "
    "--align --fusion-weight --seed --device --set"
)


@pytest.mark.parametrize("command", ["fit", "score"])
def test_help_explains_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main([command, "--help"])

    assert end.value.code == 0
    text = capsys.readouterr().out
    for option in (*NAMED.split(), *(["--model"] if command == "score" else [])):
        assert option in text
    subparsers = next(a for a in parsers.parser()._actions if isinstance(a, argparse._SubParsersAction))
    for action in subparsers.choices[command]._actions:
        assert action.help, action.option_strings


def test_options_become_settings() -> None:
    words = ["fit", "--images", "i", "--csv", "c", "--out", "o", "--preset", "paper-448", "--no-mask"]
    words += ["--neighbours", "3", "--set", "alignment.rounds=2", "--set", "alignment.epochs=2"]
    words += ["--set", "mask.keep=0.6"]

    config = config_from_options(parsers.parser().parse_args(words))

    expected = PipelineConfig.from_preset("paper-448").replace(mask=False, neighbours=3, mask_keep=0.6)
    assert config.replace(alignment=expected.alignment) == expected
    assert (config.alignment.rounds, config.alignment.epochs) == (2, 2)


def test_options_on_a_model_start_from_its_config() -> None:
    fitted = PipelineConfig.from_preset("paper").replace(size=64)
    words = ["score", "--images", "i", "--csv", "c", "--model", "m", "--out", "o", "--threads", "1"]

    config = config_for_model(parsers.parser().parse_args(words), fitted)

    assert config == fitted.replace(threads=1)
    with pytest.raises(InvalidConfig, match=r"rate is 0\.5"):
        config_for_model(parsers.parser().parse_args([*words, "--rate", "0.5"]), fitted)


def test_the_engine_runs_without_django() -> None:
    code = (
        "import sys\n"
        "for name in ('django', 'celery', 'rest_framework'): sys.modules[name] = None\n"
        "import ml_engine.command.main, ml_engine.core.detector.pipeline\n"
    )

    result = subprocess.run([sys.executable, "-c", code], cwd=films.ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr


# explain


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run("explain", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_explain_names_the_patches_that_a_score_comes_from(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    table = films.read_csv(world.scores / "scores.csv")
    maps = np.load(world.scores / "maps.npy")

    explanation = explained(capsys, "--model", world.model, "--film", world.images / table[1]["filename"])

    assert explanation["notice"] == "random weights, not for evaluation"
    assert {line["notice"] for line in table} == {"random weights, not for evaluation"}
    row, column = explanation["row"], explanation["column"]
    assert explanation["global_score"] == pytest.approx(float(maps[1, 0, row, column]), rel=1e-6)
    assert explanation["region_score"] == pytest.approx(float(maps[1, 1, row, column]), rel=1e-6)
    assert [(n["bank"], n["rank"]) for n in explanation["nearest"]] == [
        (b, k) for b in ("global", "region") for k in range(1, 6)
    ]
    assert explanation["nearest"][0]["distance"] == pytest.approx(explanation["global_score"], rel=1e-6)  # K = 1, L2
    assert explanation["nearest"][5]["distance"] == pytest.approx(explanation["region_score"], rel=1e-6)
    fit = {line["filename"] for line in films.read_csv(world.model / "images.csv") if line["part"] == "fit"}
    assert {n["filename"] for n in explanation["nearest"]} <= fit
    x, y = explanation["centre_original_px"]  # 80 pixels on 64, 8 to a patch
    assert (x, y) == pytest.approx(((column + 0.5) * 10, (row + 0.5) * 10))


def test_a_patch_of_a_bank_is_its_own_nearest(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    tensors, _ = files.read_tensors(world.model / "detector.safetensors")
    film, row, column = tensors["region.provenance"][0].tolist()
    filename = films.read_csv(world.model / "images.csv")[film]["filename"]

    explanation = explained(
        capsys,
        "--model",
        world.model,
        "--film",
        world.images / filename,
        "--patch",
        f"{row},{column}",
        "--neighbours",
        1,
    )

    assert explanation["nearest"][1] == {
        "bank": "region", "rank": 1, "distance": 0, "filename": filename, "image": "", "row": row, "column": column,
        "original_from_canonical": None,
    }  # fmt: skip


def test_explain_adds_the_alignments_of_the_neighbours(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    film = world.images / "film-21.png"
    nearest = explained(capsys, "--model", world.model, "--film", film, "--images", world.images)["nearest"]
    for neighbour in nearest:
        np.testing.assert_allclose(neighbour["original_from_canonical"], [[1.25, 0, 0], [0, 1.25, 0]], atol=1e-9)

    without = explained(capsys, "--model", world.model, "--film", film, "--images", world.data)["nearest"]
    assert [{**neighbour, "original_from_canonical": None} for neighbour in nearest] == without


def test_bad_input_to_explain_is_one_sentence(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.load(world.model / "mask.npy")
    row, column = np.argwhere(~mask)[0].tolist()
    common = ["explain", "--model", world.model, "--film", world.images / "film-00.png"]

    assert "write ROW,COLUMN, such as 12,7" in refused(capsys, *common, "--patch", "3")
    assert "patch is 9,0: rows and columns go from 0 to 7" in refused(capsys, *common, "--patch", "9,0")
    assert "outside the hard mask" in refused(capsys, *common, "--patch", f"{row},{column}")
    assert "must be at least 1" in refused(capsys, *common, "--neighbours", "0")
    assert "The file is not there" in refused(capsys, *common[:3], "--film", tmp_path / "none.png")
    assert "holds no detector.safetensors" in refused(capsys, "explain", "--model", tmp_path, *common[3:])


def test_ctrl_c_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_load", lambda _: interrupted)
    assert main.main(["repeat", "archive.zip", "--out", "again"]) == 130
    assert capsys.readouterr().err == "\nml_engine: stopped.\n"
