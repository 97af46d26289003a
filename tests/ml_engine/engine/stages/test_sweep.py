"""A sweep over settings in one run, on small synthetic films."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.studies import print_sweep as tables
from ml_engine.command import main
from ml_engine.core.backbone import feature_store
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine.stages import sweep
from tests.ml_engine import films

AXES = ["--axis", "rate=0.1,0.3", "--axis", "seed=0,1", "--axis", "fusion_weight=0,0.6"]
BASE = [*films.UNALIGNED, "--set", "cross_fit=no"]


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


def command(folder: Path, *more: str) -> int:
    return main.main(
        ["sweep", "--images", str(folder / "films"), "--csv", str(folder / "films" / "labels.csv"), *BASE, *more]
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films`` and a finished sweep ``out`` of two rates and two seeds at two weights."""
    base = tmp_path_factory.mktemp("sweep")
    films.write_set(base / "films", train=10, tune_abnormal=3, test=6)
    assert command(base, "--out", str(base / "out"), *AXES) == 0
    return base


def test_an_experiment_equals_fit_and_score(world: Path, tmp_path: Path) -> None:
    common = ["--images", str(world / "films"), "--csv", str(world / "films" / "labels.csv")]
    own = ["--rate", "0.3", "--set", "coreset_start=seeded"]
    assert main.main(["fit", *common, *BASE, *own, "--out", str(tmp_path / "m")]) == 0
    score = ["score", *common, "--model", str(tmp_path / "m"), "--out", str(tmp_path / "s")]
    assert main.main(score) == 0

    experiment = world / "out" / "cells" / "03" / "scores"
    of_test = [row["part"] == "test" for row in films.read_csv(experiment / "images.csv")]
    assert summary(world)["cells"][2]["changes"] == {"rate": "0.3", "seed": "0", "coreset_start": "seeded"}
    for name in ("maps.npy", "sweep.npy"):
        assert np.load(experiment / name)[of_test].tobytes() == np.load(tmp_path / "s" / name).tobytes()


def summary(world: Path) -> dict:
    return json.loads((world / "out" / "sweep.json").read_text(encoding="utf-8"))


def test_experiments_differ_by_rate_and_by_seed(world: Path) -> None:
    maps = {
        experiment["name"]: np.load(world / "out" / experiment["scores"] / "maps.npy")
        for experiment in summary(world)["cells"]
    }

    assert len({values.tobytes() for values in maps.values()}) == len(maps) == 4


def test_no_experiment_sees_a_label_of_a_film_that_it_scores(world: Path) -> None:
    manifests = list((world / "out" / "cells").rglob("scores/images.csv"))
    assert len(manifests) == 4
    for path in manifests:
        assert "label" not in films.read_csv(path)[0]
    assert {row["label"] for row in films.read_csv(world / "out" / "images.csv") if row["part"] == "test"} == {""}


def test_the_features_are_deleted_at_the_end(world: Path) -> None:
    assert not list((world / "out").rglob(f"{feature_store.FOLDER}/*/*"))


def test_shared_features_and_alignments_are_counted_once() -> None:
    config = PipelineConfig()
    axes = {"rate": ("0.01", "0.1"), "neighbours": ("1", "9"), "seed": ("0", "1"), "size": ("224", "448")}

    planned = sweep.plan(config, axes)

    assert (len(planned.experiments), planned.feature_sets(config), list(planned.alignments)) == (16, 2, ["base"])
    drawn = sweep.plan(config.replace(weights="random"), axes)
    assert drawn.feature_sets(config.replace(weights="random")) == 4  # random weights are drawn by the seed


def test_experiments_with_equal_features_are_adjacent() -> None:
    planned = sweep.plan(PipelineConfig(), {"rate": ("0.01", "0.1"), "size": ("224", "448")})

    assert [experiment.changes["size"] for experiment in planned.experiments] == ["224", "224", "448", "448"]


def test_values_are_normalised_and_without_duplicates() -> None:
    planned = sweep.plan(PipelineConfig(), {"rate": ("0.10", "0.1", "1e-1"), "fusion_weight": ("0.60",)})

    assert planned.asked["axes"] == {"rate": ["0.1"], "fusion_weight": ["0.6"]}


def test_run_again_it_changes_nothing(world: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*.npy")}

    assert command(world, "--out", str(world / "out"), *AXES) == 0

    assert {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*.npy")} == before


def test_a_sweep_of_other_values_is_not_continued(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(world, "--out", str(world / "out"), "--axis", "rate=0.1,0.5", "--axis", "seed=0,1") == 2

    assert "already holds a run with another axes" in capsys.readouterr().err


def test_the_table_is_the_scores_against_the_labels(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = {row["filename"]: row["label"] == "abnormal" for row in films.read_csv(world / "films" / "labels.csv")}
    expected = {}
    for experiment in summary(world)["cells"]:
        rows = films.read_csv(world / "out" / experiment["scores"] / "scores.csv")
        parts = [row["part"] for row in films.read_csv(world / "out" / experiment["scores"] / "images.csv")]
        for part in ("tune", "test"):
            at = [k for k, other in enumerate(parts) if other == part]
            labels = [truth[rows[k]["filename"]] for k in at]
            expected[experiment["name"], part] = roc_auc_score(labels, [float(rows[k]["global"]) for k in at])

    table = tables.read_sweep(world / "out", world / "films" / "labels.csv")

    of_global = [row for row in table.rows if row.weight == 0.0]
    assert len(of_global) == 4
    for row in of_global:
        for part in ("tune", "test"):
            assert row.aurocs[part].auroc == pytest.approx(expected[row.experiment, part], abs=1e-9)
    assert tables.main([str(world / "out"), "--csv", str(world / "films" / "labels.csv")]) == 0
    printed = capsys.readouterr().out
    assert "Random weights, not for evaluation" in printed
    assert "3 normal and 3 abnormal films of test" in printed
    assert printed.count("best on tune") == 2  # the two seeds of one setting


def test_tune_only_shows_nothing_of_test(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tables.main([str(world / "out"), "--csv", str(world / "films" / "labels.csv"), "--tune-only"]) == 0

    assert "test" not in capsys.readouterr().out


def test_a_refused_experiment_is_listed_with_its_reason(world: Path, tmp_path: Path) -> None:
    """At 32 px the mask keeps 13 of 16 patches, at 64 px 51 of 64."""
    axes = ["--axis", "size=64,32", "--set", "mask.most=0.8"]
    assert command(world, "--out", str(tmp_path / "out"), *axes) == 0

    experiments = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf-8"))["cells"]
    assert [bool(experiment["refused"]) for experiment in experiments] == [False, True]


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({}, "The sweep has no axis"),
        ({"rate": ()}, "The axis rate has no value: give at least one"),
        ({"mask": ("yes",)}, "mask is not an axis of a sweep: choose from backbone, size, rate"),
        ({"rate": ("often",)}, "rate is 'often': it must be a number"),
        ({"rate": ("2",)}, "rate is 2.0: it must be from 1e-06 to 1"),
        ({"size": ("100",)}, "size is 100"),
        ({"fusion_weight": ("0.333",)}, "fusion_weight is 0.333: it must be a hundredth from 0 to 1"),
        ({"neighbours": ("1", "3"), "seed": tuple(map(str, range(31)))}, "2 × 31 is 62 detectors: at most 60"),
    ],
)
def test_an_invalid_axis_is_refused(axes: dict[str, tuple[str, ...]], sentence: str) -> None:
    with pytest.raises((InvalidConfig, EngineError), match=sentence.replace("(", r"\(")):
        sweep.plan(PipelineConfig(), axes)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"rate_tried": "0.1"}, "rate is an axis and rate_tried has candidates"),
        ({"detector": "padim"}, "rate is an axis, and the detector padim has no such bank"),
    ],
)
def test_an_axis_that_the_config_decides_is_refused(config: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidConfig, match=sentence):
        sweep.plan(PipelineConfig().replace_fields(config), {"rate": ("0.01", "0.1")})


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["rate"], "The axis is 'rate': write FIELD=VALUE,VALUE"),
        (["rate=0.1", "rate=0.2"], "The axis rate appears twice"),
    ],
)
def test_an_axis_is_written_as_a_list(texts: list[str], sentence: str) -> None:
    with pytest.raises(InvalidConfig, match=sentence):
        sweep.read_axes(texts)


def test_an_axis_that_is_given_twice_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="The axis rate appears twice: write all of its values in one axis"):
        sweep.read_axes(["rate=0.01", "rate=0.1"])
