"""The whole engine with its default backbone and alignment on phantom films with known truth.

The limits lie little below the measured values (docs/phantoms.md), and far above the values with a broken step.
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

SIZE, READ = 256, 224  # side in pixels of a drawn film, and of the input of the features
FIT, CALIBRATE, TEST, ILL = 72, 16, 24, 16  # number of films; ILL for each finding
FINDINGS = ("effusion", "cardiomegaly")
OPTIONS = ("--set", "rate=0.1", "--set", "cross_fit=no", "--set", "threads=1", "--set", "controls=0")
UNALIGNED = np.array([[SIZE / READ, 0, 0], [0, SIZE / READ, 0]])  # the affine of a film that is resized and not aligned

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


@pytest.fixture(scope="module")
def scored(films: Path) -> Films:
    model, scores = films / "model", films / "scores"
    common = ["--images", films, "--csv", films / "labels.csv"]
    engine("fit", *common, "--out", model, *OPTIONS)
    engine("score", *common, "--model", model, "--out", scores)
    return read_scores(scores, films / "labels.csv")


def engine(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "ml_engine", *map(str, arguments)], check=True, capture_output=True)


def write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_gross_finding_is_detected(scored: Films, finding: str) -> None:
    area, abnormal, normal = image_auroc(scored, finding)
    assert (abnormal, normal) == (ILL, TEST)
    assert area > 0.97


def test_alignment_leaves_a_fifth_of_the_error_of_landmarks(films: Path, scored: Films) -> None:
    landmarks = read_landmarks(films / "truth" / "landmarks.csv")
    affines = dict(zip(scored.names, scored.affines, strict=True))
    normal = [name for name, finding in zip(scored.names, scored.findings, strict=True) if not finding]
    before, after = landmark_errors(
        {name: landmarks[name] for name in normal}, affines, dict.fromkeys(normal, UNALIGNED)
    )
    assert after < before / 5
