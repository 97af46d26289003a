"""Image and pixel AUROC for each finding, and the landmark error, on phantom films.

    python -m benchmarks.phantoms [--films DIR] [--out DIR] [--set FIELD=VALUE ...]

DIR is a demo set (portal.imaging.phantom.write_demo_set); without it one is drawn. Fits with the demo's settings and
prints the Markdown of docs/phantoms.md. Phantoms show that the parts work together, not what the method can do on
patients.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tabulate import tabulate

from benchmarks.phantom_truth import Films, image_auroc, landmark_errors, pixel_auroc, read_landmarks
from ml_engine.engine.scored_folder import ScoredFolder
from portal.imaging.phantom import FINDINGS, write_demo_set
from portal.imaging.phantom.demo_set import DEMO_CALIBRATE

DEMO = ("rate=0.05", "controls=0")


def engine(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "ml_engine", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def fit_and_score(films: Path, out: Path, *, align: str, settings: list[str]) -> Path:
    model, scores = out / f"model-{align}", out / f"scores-{align}"
    common = ("--images", films, "--csv", films / "labels.csv")
    chosen = [part for setting in settings for part in ("--set", setting)]
    engine("fit", *common, "--out", model, "--align", align, *chosen)
    engine("score", *common, "--model", model, "--out", scores)
    return scores


def read_scores(scores: Path, labels: Path) -> Films:
    with labels.open(newline="", encoding="utf-8") as file:
        finding = {row["filename"]: row["finding"] for row in csv.DictReader(file)}
    folder = ScoredFolder(scores)
    return Films(
        names=[film.filename for film in folder.films],
        findings=[finding[film.filename] for film in folder.films],
        fused=np.array([film.fused for film in folder.films]),
        maps=np.stack([folder.heatmap_of(row).fused for row in range(len(folder.films))]),
        affines=folder.array("original_from_canonical"),
        stride=folder.summary.stride,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        films = given.films
        if films is None:
            films = out / "films"
            write_demo_set(
                films,
                calibrate=DEMO_CALIBRATE,
                size=768,
                progress=lambda done, total: print(f"{done} of {total}", end="\r", file=sys.stderr),
            )
        report(films, out, [*DEMO, *given.set])


def report(films: Path, out: Path, settings: list[str]) -> None:
    aligned, lying = (
        read_scores(fit_and_score(films, out, align=align, settings=settings), films / "labels.csv")
        for align in ("network", "none")
    )
    headings = ("finding", "films", "image AUROC, aligned", "not aligned", "pixel AUROC, aligned", "not aligned")
    rows = []
    for finding in FINDINGS:
        area, abnormal, normal = image_auroc(aligned, finding)
        areas = [area, image_auroc(lying, finding)[0]]
        areas += [pixel_auroc(one, finding, films / "truth") for one in (aligned, lying)]
        rows.append([finding, f"{abnormal} against {normal} normal", *(f"{area:.3f}" for area in areas)])
    print(tabulate(rows, headings, tablefmt="github", disable_numparse=True))
    before, after = landmark_errors(*normal_landmarks(films, aligned, lying))
    print(
        f"\nMedian landmark error of the normal test films: {before:.2f} canonical pixels unaligned, {after:.2f} "
        f"aligned (ratio {after / before:.2f})."
    )


def normal_landmarks(films: Path, aligned: Films, lying: Films) -> tuple[dict, dict, dict]:
    """Landmarks and affines of the normal films that were scored."""
    normal = [name for name, finding in zip(aligned.names, aligned.findings, strict=True) if not finding]
    landmarks = read_landmarks(films / "truth" / "landmarks.csv")
    return (
        {name: landmarks[name] for name in normal},
        {name: aligned.affines[aligned.names.index(name)] for name in normal},
        {name: lying.affines[lying.names.index(name)] for name in normal},
    )


if __name__ == "__main__":
    main()
