"""The paper's experiments as one run, on small synthetic films."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.studies import print_ablation as tables
from ml_engine.command import main
from ml_engine.core.backbone import feature_store
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.chunked_rows import ChunkedRows
from ml_engine.engine.stages import ablation
from portal.imaging.phantom.demo_set import plan_demo_set
from portal.imaging.phantom.findings import FINDINGS
from tests.ml_engine import films

QUICK = [*films.SMALL, "--set", "alignment.size=32", "--set", "alignment.epochs=3", "--set", "alignment.batch=4"]
QUICK += ["--set", "alignment.perceptual=0", "--set", "alignment.local_ncc=0", "--set", "alignment.consistency=0"]
QUICK += ["--set", "alignment.method=network", "--set", "alignment.guard_valid_area=0"]


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


def command(folder: Path, *more: str) -> int:
    return main.main(
        ["ablation", "--images", str(folder / "films"), "--csv", str(folder / "films" / "labels.csv"), *QUICK, *more]
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films`` and a finished ablation ``out`` of Figures 12 and 13."""
    base = tmp_path_factory.mktemp("ablation")
    films.write_set(base / "films", train=10, tune_abnormal=2, test=6)
    assert command(base, "--out", str(base / "out"), "--figures", "12,13,14") == 0
    return base


def scores_of(world: Path, name: str) -> Path:
    return world / "out" / "cells" / name / "scores"


def test_each_experiment_equals_fit_and_score(world: Path, tmp_path: Path) -> None:
    """The shared features change nothing: the bytes equal those of the separate commands."""
    common = ["--images", str(world / "films"), "--csv", str(world / "films" / "labels.csv")]
    fit = ["fit", *common, *films.UNALIGNED, "--no-mask", "--out", str(tmp_path / "m")]
    assert main.main([*fit, *QUICK[len(films.SMALL) :]]) == 0
    score = ["score", *common, "--model", str(tmp_path / "m"), "--out", str(tmp_path / "s")]
    assert main.main(score) == 0

    for name in ("maps.npy", "scores.csv", "sweep.npy"):
        assert (scores_of(world, "unaligned-unmasked") / name).read_bytes() == (tmp_path / "s" / name).read_bytes()


def test_the_experiments_differ_as_named(world: Path) -> None:
    names = ("aligned-masked", "unaligned-masked", "aligned-unmasked", "unaligned-unmasked")
    maps = {name: np.load(scores_of(world, name) / "maps.npy") for name in names}
    affines = {name: np.load(scores_of(world, name) / "affines.npy") for name in names}

    for name in names:
        assert np.isnan(maps[name]).any() == ("unmasked" not in name)
        assert (np.ptp(affines[name], axis=0) > 1e-9).any() == (not name.startswith("unaligned"))


def test_no_experiment_sees_a_label_of_the_test_part(world: Path) -> None:
    for path in (world / "out").rglob("images.csv"):
        rows = path.read_text(encoding="utf-8").splitlines()
        assert not any("test" in row and ("normal" in row.split(",") or "abnormal" in row.split(",")) for row in rows)


def test_the_features_are_deleted_at_the_end(world: Path) -> None:
    assert not list((world / "out").rglob(f"{feature_store.FOLDER}/*/*"))


def test_experiments_on_equal_films_share_their_features() -> None:
    planned = ablation.plan(PipelineConfig(), ("12", "13"))
    keys = {}
    for experiment in planned.experiments:
        key = feature_store.key_of(
            experiment.config(PipelineConfig()),
            weights={"name": "random", "sha256": None},
            alignment_sha256=experiment.alignment,
            device="",
        )
        keys.setdefault(json.dumps(key, sort_keys=True), []).append(experiment.name)

    assert sorted(keys.values()) == [
        ["aligned-masked", "aligned-unmasked"],
        ["unaligned-masked", "unaligned-unmasked"],
    ]


def test_run_again_it_changes_nothing(world: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*.npy")}

    assert command(world, "--out", str(world / "out"), "--figures", "12,13,14") == 0

    assert {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*.npy")} == before


def test_the_tables_are_the_scores_against_the_labels(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = {row["filename"]: row["label"] == "abnormal" for row in films.read_csv(world / "films" / "labels.csv")}
    expected = {}
    for name in ("aligned-masked", "unaligned-unmasked"):
        rows = films.read_csv(scores_of(world, name) / "scores.csv")
        expected[name] = roc_auc_score([truth[r["filename"]] for r in rows], [float(r["fused"]) for r in rows])

    assert tables.main([str(world / "out"), "--csv", str(world / "films" / "labels.csv")]) == 0

    printed = capsys.readouterr().out
    rows = {line.split("|")[1].strip(): line.split("|") for line in printed.splitlines() if line.startswith("|")}
    assert rows["aligned, masked"][4].strip().startswith(f"{expected['aligned-masked']:.3f} (")
    assert rows["not aligned, not masked"][4].strip().startswith(f"{expected['unaligned-unmasked']:.3f} (")
    difference = expected["unaligned-unmasked"] - expected["aligned-masked"]
    assert rows["not aligned, not masked"][6].strip().startswith(f"{difference:+.3f} (")
    assert "Random weights, not for evaluation" in printed
    assert "3 normal and 3 abnormal test films" in printed
    assert rows["base"][2].strip() == f"{summary(world)['alignments']['base']['report']['ncc_before']:.3f}"


def summary(world: Path) -> dict:
    return json.loads((world / "out" / "ablation.json").read_text(encoding="utf-8"))


def test_a_refused_experiment_is_in_the_table_with_its_reason(world: Path, tmp_path: Path) -> None:
    copied = tmp_path / "out"
    copied.mkdir()
    shutil.copytree(world / "out" / "cells", copied / "cells")
    facts = summary(world)
    facts["cells"][1] |= {"refused": "too large"}
    (copied / "ablation.json").write_text(json.dumps(facts), encoding="utf-8")

    text = tables.table(tables.read_ablation(copied, world / "films" / "labels.csv"))

    row = next(line for line in text.splitlines() if line.startswith("| not aligned, masked"))
    assert [text.strip() for text in row.split("|")[2:-1]] == ["refused", "", "", "", ""]
    assert "not aligned, masked was refused: too large" in text.splitlines()


def test_a_detector_with_one_map_has_one_figure(world: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(world / "out", tmp_path / "out")
    path = copied / "cells" / "aligned-unmasked" / "scores" / "scores.csv"
    rows = [row | {"region": row["global"], "fused": row["global"]} for row in films.read_csv(path)]
    films.write_csv(path, rows)

    text = tables.table(tables.read_ablation(copied, world / "films" / "labels.csv"))

    line = next(line for line in text.splitlines() if line.startswith("| aligned, not masked"))
    assert [text.strip() == "" for text in line.split("|")[2:6]] == [True, True, False, True]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--images", ".", "--csv", "x.csv", "--figures", "12,99"], "figures is '99': choose from 12, 13, 14, 15"),
        ([], "Give --images and --csv, or --phantoms N"),
        (["--phantoms", "80", "--images", "."], "--phantoms draws films of its own"),
        (["--phantoms", "10"], "--phantoms is 10: at least 60 films"),
    ],
)
def test_invalid_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main.main(["ablation", "--out", str(tmp_path / "o"), *arguments]) == 2

    assert sentence in capsys.readouterr().err


def test_films_without_a_test_part_are_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = films.write_csv(tmp_path / "l.csv", [{"filename": "film-00.png", "label": "normal"}])

    status = main.main(
        ["ablation", "--images", str(world / "films"), "--csv", str(table), "--out", str(tmp_path / "o"), *QUICK]
    )

    assert status == 2
    assert "The CSV needs the column split" in capsys.readouterr().err


def test_labels_of_other_films_are_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = films.write_csv(tmp_path / "l.csv", [{"filename": "other.png", "label": "normal"}])

    assert tables.main([str(world / "out"), "--csv", str(table)]) == 2
    assert "l.csv does not name film-" in capsys.readouterr().err
    assert tables.main([str(tmp_path), "--csv", str(table)]) == 2
    assert "holds no finished ablation" in capsys.readouterr().err


def test_a_collapsed_alignment_refuses_only_its_experiments(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal is a result and does not end the run."""
    monkeypatch.setattr(ablation, "ALIGNMENTS", {"odd": {"alignment.guard_valid_area": "0.999"}})

    assert command(world, "--out", str(tmp_path / "out"), "--figures", "alignment") == 0

    study = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    assert [experiment["name"] for experiment in study["cells"]] == ["aligned-masked", "aligned-odd"]
    assert study["cells"][1]["refused"].startswith("The aligned films cover")
    assert study["alignments"]["odd"]["report"] is None
    text = tables.table(tables.read_ablation(tmp_path / "out", world / "films" / "labels.csv"))
    assert text.count("refused: ") == 2


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (("--no-mask",), "mask is False: an ablation varies it, starting from True. Leave it out."),
        (("--align", "none"), "align is 'none': an ablation varies it"),
        (("--detector", "padim"), "detector is 'padim': an ablation varies it"),
        (("--set", "clahe=yes"), "clahe is True: an ablation varies it"),
    ],
)
def test_varied_settings_cannot_be_set(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: tuple[str, ...], sentence: str
) -> None:
    """Otherwise the first experiment, ``aligned, masked``, would be neither."""
    assert command(world, "--out", str(tmp_path / "o"), "--figures", "14", *setting) == 2

    assert sentence in capsys.readouterr().err


def test_a_full_disk_ends_the_run_and_is_no_result(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The experiment is tried again when there is room."""
    copied = shutil.copytree(world / "out", tmp_path / "out")
    for name in ("cell-unaligned-unmasked", "results"):
        (copied / "stages" / f"{name}.json").unlink()
    shutil.rmtree(copied / "cells" / "unaligned-unmasked")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ChunkedRows, "add", full)
        assert command(world, "--out", str(copied), "--figures", "12,13,14") == 2
    assert "The disk is full" in capsys.readouterr().err

    assert command(world, "--out", str(copied), "--figures", "12,13,14") == 0

    assert [experiment["refused"] for experiment in json.loads((copied / "ablation.json").read_text())["cells"]] == [
        ""
    ] * 4


def test_an_unreadable_film_leaves_one_map_one_map(world: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(world / "out", tmp_path / "out")
    path = copied / "cells" / "aligned-unmasked" / "scores" / "scores.csv"
    rows = [row | {"region": row["global"], "fused": row["global"]} for row in films.read_csv(path)]
    rows[0] |= {"global": "nan", "region": "nan", "fused": "nan"}
    films.write_csv(path, rows)

    results = tables.read_ablation(copied, world / "films" / "labels.csv")

    assert [experiment.has_one_map for experiment in results.experiments] == [False, False, True, False]


def test_an_unreadable_film_of_the_align_part_is_counted(world: Path, tmp_path: Path) -> None:
    rows = films.read_csv(world / "films" / "labels.csv")
    rows.append(rows[0] | {"filename": "odd.png", "patient_id": "odd", "split": "align"})
    rows.append(rows[0] | {"patient_id": "a", "split": "align"})
    rows.append(rows[1] | {"patient_id": "b", "split": "align"})
    images = shutil.copytree(world / "films", tmp_path / "films")
    (images / "odd.png").write_bytes(b"no film")
    films.write_csv(images / "labels.csv", rows[2:])

    assert command(tmp_path, "--out", str(tmp_path / "out"), "--figures", "14") == 3


@pytest.mark.parametrize(("count", "lines"), [("90", None), ("60", 30)])
def test_other_phantoms_in_the_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str, lines: int | None
) -> None:
    """The phantoms of an earlier command with another number, and an incomplete list."""
    plans = plan_demo_set(seed=0, normals=44, abnormals_per_finding=60 // 4 // len(FINDINGS), size=1024)
    rows = [{"filename": plan.filename, "label": "abnormal" if plan.finding else "normal"} for plan in plans]
    (tmp_path / "o" / "films").mkdir(parents=True)
    films.write_csv(tmp_path / "o" / "films" / "labels.csv", rows[:lines])

    assert main.main(["ablation", "--out", str(tmp_path / "o"), "--phantoms", count, *QUICK]) == 2

    assert f"does not hold exactly the {count} phantoms" in capsys.readouterr().err
