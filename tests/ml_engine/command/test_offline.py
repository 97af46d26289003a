"""After installation the command line fits and scores with ImageNet weights and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml_engine.core import files
from ml_engine.core.published_weights import KNOWN
from portal.imaging.phantom.demo_set import write_demo_set
from tests.ml_engine import films
from tests.paths import ROOT

LITE2 = "tf_efficientnet_lite2"
SMALL = ["--preset", "default", "--backbone", LITE2, "--weights", "imagenet", "--size", "64", "--grid", "2"]
SMALL += ["--rate", "0.2", "--threads", "1", "--set", "layers=layer2+layer3", "--set", "folds=2"]
UNALIGNED = ["--align", "none"]
WIDE = [*UNALIGNED, "--backbone", "wide_resnet50_2", "--weights", "random"]
SEARCH = ["--align", "network", "--set", "alignment.method=search", "--set", "alignment.size=32"]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_demo_set(folder, normals=30, abnormals_per_finding=2, size=128, workers=1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("aligned", [UNALIGNED, SEARCH], ids=["unaligned", "search"])
def test_phantoms_are_fitted_and_scored_without_a_network(phantoms: Path, tmp_path: Path, aligned: list[str]) -> None:
    common = ["--images", phantoms, "--csv", phantoms / "labels.csv"]
    model, scores = tmp_path / "model", tmp_path / "scores"

    offline(tmp_path, "fit", *common, "--out", model, *SMALL, *aligned)
    offline(tmp_path, "score", *common, "--model", model, "--out", scores)

    assert files.read_json(model / "detector.json")["weights"] == {"name": "imagenet", "sha256": KNOWN[LITE2].digest}
    assert {row["error"] for row in films.read_csv(scores / "scores.csv")} == {""}
    assert watched(tmp_path) == []


@pytest.mark.slow
def test_a_wide_resnet_is_fitted_and_scored_without_torchvision(phantoms: Path, tmp_path: Path) -> None:
    """torchvision, torch._dynamo and triton take a second and 150 MiB in each process."""
    common = ["--images", phantoms, "--csv", phantoms / "labels.csv"]

    offline(tmp_path, "fit", *common, "--out", tmp_path / "model", *SMALL, *WIDE)
    offline(tmp_path, "score", *common, "--model", tmp_path / "model", "--out", tmp_path / "scores")

    assert watched(tmp_path) == []


def test_the_watch_sees_attempts_and_imports(tmp_path: Path) -> None:
    code = "import torchvision, urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')"
    done = start(tmp_path, "-c", code)

    assert "this test has no network" in done.stderr
    lines = watched(tmp_path)
    assert {"import torchvision", "import torch._dynamo", "import triton"} <= set(lines)
    assert {line.split()[0] for line in lines} == {"import", "network"}


def offline(tmp_path: Path, *arguments: object) -> None:
    done = start(tmp_path, "-m", "ml_engine", *arguments)
    assert done.returncode == 0, done.stderr


def start(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python with an empty data folder and no network."""
    guarded = os.pathsep.join([str(Path(__file__).parents[1] / "offline"), str(ROOT)])
    data = {"HILUM_DATA_DIR": str(tmp_path / "data"), "HILUM_TEST_OFFLINE": str(tmp_path / "watched.txt")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | data | {"PYTHONPATH": guarded},
        capture_output=True,
        text=True,
        check=False,
    )


def watched(tmp_path: Path) -> list[str]:
    path = tmp_path / "watched.txt"
    return sorted(set(path.read_text(encoding="utf-8").split("\n")) - {""}) if path.exists() else []
