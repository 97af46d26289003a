"""Small synthetic films with their CSV, and the command line to run on them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml_engine.core.version import code_version
from tests.paths import ROOT

# The smallest settings that use every part of the engine: 8 x 8 patches in 2 x 2 cells.
SMALL = ["--weights", "random", "--backbone", "resnet18", "--size", "64", "--grid", "2", "--rate", "0.2"]
SMALL += ["--threads", "1"]  # two are much slower on a busy machine
SMALL += ["--set", "controls=0"]  # tests of the negative controls set another number
UNALIGNED = [*SMALL, "--align", "none"]


@contextmanager
def fixed_code_version() -> Iterator[None]:
    """Results hold the commit; a commit made while the tests run would look like a difference between results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HILUM_CODE_VERSION", "test")
        code_version.cache_clear()
        yield
    code_version.cache_clear()


def film(seed: int, *, abnormal: bool = False, side: int = 80) -> np.ndarray:
    """A bright oval with two dark ovals and noise, uint8 (H, W); an abnormal film has a bright spot."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    body = 150.0 * (x**2 / 0.2 + y**2 / 0.24 < 1)
    for side_x in (-0.18, 0.18):
        body -= 90 * (((x - side_x) / 0.13) ** 2 + (y / 0.25) ** 2 < 1)
    if abnormal:
        body += 120 * ((x - 0.18) ** 2 + (y - 0.1) ** 2 < 0.006)
    shift = rng.integers(-2, 3, size=2)
    noisy = np.roll(body, shift, axis=(0, 1)) + rng.normal(0, 6, body.shape) + 8
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_set(
    folder: Path, *, train: int = 10, tune_abnormal: int = 0, test: int = 4, side: int = 80, header: str = ""
) -> Path:
    """Films as PNG in ``folder`` and ``labels.csv`` beside them; half of the test films are abnormal."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    plan = [("normal", "train")] * train + [("abnormal", "train")] * tune_abnormal
    plan += [("abnormal" if k % 2 else "normal", "test") for k in range(test)]
    for number, (label, split) in enumerate(plan):
        name = f"film-{number:02}.png"
        Image.fromarray(film(number, abnormal=label == "abnormal", side=side)).save(folder / name)
        rows.append({"filename": name, "label": label, "patient_id": f"p{number}", "split": split})
    return write_csv(folder / "labels.csv", rows)


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def environment(data: Path) -> dict[str, str]:
    return {**os.environ, "HILUM_DATA_DIR": str(data)}


def engine(*arguments: object, data: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m ml_engine`` in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "ml_engine", *map(str, arguments)],
        cwd=ROOT,
        env=environment(data),
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def result_bytes(folder: Path) -> dict[str, bytes]:
    """The files of a run folder that are equal for equal runs: all except events, log and lock."""
    exempt = {"events.jsonl", "log.txt", "lock"}
    results = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in exempt]
    return {str(path.relative_to(folder)): path.read_bytes() for path in results if "epochs" not in path.parts}
