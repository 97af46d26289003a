"""The whole engine on phantom films with known truth and random weights: it must find what is there to be found.

The floors are far below what is measured (docs/phantoms.md), so that a change of library does not trip them, and far
above what a broken step leaves.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.phantom_truth import Films, image_auroc, landmark_errors, read_landmarks
from benchmarks.phantoms import read_scores
from portal.imaging.phantom import make_phantom

SIZE = 384  # pixels of a drawn film
FIT, CALIBRATE, TEST, ILL = 72, 16, 24, 16  # films; ILL of each finding
FINDINGS = ("effusion", "cardiomegaly")
# The features that are published, untrained, on films as they lie; and an alignment whose features do not matter.
READING = ("--align", "none", "--set", "rate=0.1")
ALIGNING = (
    *("--align", "network", "--backbone", "resnet18", "--size", "64"),
    *("--set", "alignment.perceptual=0", "--set", "alignment.epochs=12", "--set", "alignment.size=64"),
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PNG films, labels.csv and truth/landmarks.csv."""
    folder = tmp_path_factory.mktemp("phantoms")
    (folder / "truth").mkdir()
    plan = [("fit", "")] * FIT + [("calibrate", "")] * CALIBRATE + [("test", "")] * TEST
    plan += [("test", finding) for finding in FINDINGS for _ in range(ILL)]
    labels, landmarks = [], []
    for number, (part, finding) in enumerate(plan):
        phantom = make_phantom(seed=number, finding=finding or None, size=SIZE)
        name = f"{number:03}.png"
        Image.fromarray(phantom.pixels).save(folder / name)
        labels.append([name, "abnormal" if finding else "normal", f"p{number}", part, finding])
        landmarks += [[name, mark, x, y] for mark, (x, y) in phantom.landmarks.items()]
    write(folder / "labels.csv", ["filename", "label", "patient_id", "split", "finding"], labels)
    write(folder / "truth" / "landmarks.csv", ["filename", "landmark", "x", "y"], landmarks)
    return folder


def fit_and_score(films: Path, name: str, options: tuple[str, ...]) -> Films:
    model, scored = films / f"model-{name}", films / f"scores-{name}"
    common = ["--images", films, "--csv", films / "labels.csv"]
    engine("fit", *common, "--out", model, "--weights", "random", *options)
    engine("score", *common, "--model", model, "--out", scored)
    return read_scores(scored, films / "labels.csv")


@pytest.fixture(scope="module")
def lying(films: Path) -> Films:
    return fit_and_score(films, "none", READING)


@pytest.fixture(scope="module")
def aligned(films: Path) -> Films:
    return fit_and_score(films, "network", ALIGNING)


def engine(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "ml_engine", *map(str, arguments)], check=True, capture_output=True)


def write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_gross_finding_is_found_even_by_random_features(lying: Films, finding: str) -> None:
    area, abnormal, normal = image_auroc(lying, finding)
    assert (abnormal, normal) == (ILL, TEST)
    assert area > 0.80


def test_alignment_halves_the_error_of_landmarks(films: Path, lying: Films, aligned: Films) -> None:
    landmarks = read_landmarks(films / "truth" / "landmarks.csv")
    normal = [name for name, finding in zip(lying.names, lying.findings, strict=True) if not finding]
    before, after = landmark_errors({name: landmarks[name] for name in normal}, affines_of(aligned), affines_of(lying))
    assert after < before / 2


def affines_of(films: Films) -> dict[str, np.ndarray]:
    return dict(zip(films.names, films.affines, strict=True))
