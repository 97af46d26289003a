"""A semi-supervised head on phantom films with nodules: the command line from fit to score, and the control that
refuses a pool of another exposure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml_engine.core import files
from ml_engine.engine.scored_folder import ScoredFolder
from portal.imaging.phantom import make_phantom
from tests.ml_engine import films

SIDE, EXPOSURE = 256, 0.6  # an exponent of the gray values
PLAN = [("fit", 40), ("calibrate", 12), ("tune", 6), ("pool", 30)]  # normal films
NODULES = [("tune", 6), ("pool", 12)]
OPTIONS = ("--align", "none", "--set", "rate=0.1", "--set", "threads=1", "--set", "controls=0", "--set", "folds=3")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def engine(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ml_engine", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PNG films, labels.csv, reads.csv, reads-exposed.csv with the same pool exposed otherwise, and the model."""
    folder = tmp_path_factory.mktemp("nodules")
    labels, reads, exposed = [], [], []
    plan = [(part, "") for part, count in PLAN for _ in range(count)]
    plan += [(part, "nodule") for part, count in NODULES for _ in range(count)]
    for number, (part, finding) in enumerate(plan):
        pixels = make_phantom(seed=number, finding=finding or None, size=SIDE).pixels
        name = f"{number:03}.png"
        Image.fromarray(pixels).save(folder / name)
        row = {"filename": name, "patient_id": f"p{number}"}
        if part != "pool":
            labels.append(row | {"label": "abnormal" if finding else "normal", "split": part})
            continue
        reads.append(row | {"label": "abnormal" if finding else ""})
        gray = (pixels / 4095.0) ** EXPOSURE * 4095
        Image.fromarray(np.round(gray).astype(np.uint16)).save(folder / f"exposed-{name}")
        exposed.append(reads[-1] | {"filename": f"exposed-{name}"})
    films.write_csv(folder / "labels.csv", labels)
    films.write_csv(folder / "reads.csv", reads)
    films.write_csv(folder / "reads-exposed.csv", exposed)
    common = ("--images", folder, "--csv", folder / "labels.csv")
    assert engine("fit", *common, "--out", folder / "model", *OPTIONS).returncode == 0
    return folder


def fit_head(folder: Path, reads: str, out: str) -> subprocess.CompletedProcess[str]:
    common = ("--images", folder, "--csv", folder / reads, "--model", folder / "model")
    return engine("fit_head", *common, "--out", folder / out)


def test_nodules_that_people_confirmed_make_a_model_for_score(folder: Path) -> None:
    result = fit_head(folder, "reads.csv", "head")
    assert result.returncode == 0, result.stderr
    control = files.read_json(folder / "head" / "population_control.json")
    assert control["is_passed"]
    pool = films.write_csv(folder / "pool.csv", [row | {"label": ""} for row in films.read_csv(folder / "reads.csv")])

    scored = engine("score", "--images", folder, "--csv", pool, "--model", folder / "head", "--out", folder / "scores")

    assert scored.returncode == 0, scored.stderr
    results = ScoredFolder(folder / "scores")
    beside = results.semi_supervised
    for row in range(len(results.films)):
        grid = results.contributions_of(row)
        total = np.nansum(grid, dtype=np.float64)
        assert abs(total - (beside.columns[row, 1] - beside.summary.intercept)) < 1e-6 * np.nansum(np.abs(grid))
    z = beside.columns[:, 2]
    assert z[-12:].min() > np.median(z[:-12])  # the films it was fitted on, which only shows that it was


def test_the_same_pool_with_another_exposure_is_refused(folder: Path) -> None:
    result = fit_head(folder, "reads-exposed.csv", "refused")

    assert result.returncode == 2
    assert "another population than the known normals" in result.stderr or "would learn the population" in result.stderr
    assert not (folder / "refused" / "head.safetensors").exists()
