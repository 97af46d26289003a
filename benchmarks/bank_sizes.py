"""What a cap of the memory banks costs: AUROC on real films by ``bank_most``, and its paired difference from no cap.

    python -m benchmarks.bank_sizes [FOLDER] [--most 4000 2000 1000 500 200 100] [--rate 0.1]

FOLDER (default ../shared/data/cxr-a) holds ``images`` and ``labels.csv``. The films of split train are drawn into fit,
tune and calibrate as the command line does; those of split test are scored. One preset, one seed; nothing is chosen
here. Intervals are 95 % (DeLong). Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from tabulate import tabulate

from analysis.statistics import auroc_interval
from analysis.statistics.auroc import delong_paired
from benchmarks.detection import CXR_A
from benchmarks.memory import Measured, engine

SETTINGS = ("cross_fit=no", "controls=0", "fusion_choice=config", "threads=1")


def scores_of(folder: Path) -> dict[str, float]:
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        return {row["filename"]: float(row["fused"]) for row in csv.DictReader(file)}


def measure(
    images: Path, tables: Path, out: Path, most: int, rate: float
) -> tuple[Measured, Measured, dict[str, float]]:
    changes = [part for text in (*SETTINGS, f"rate={rate}", f"bank_most={most}") for part in ("--set", text)]
    fit = engine(out, "fit", "--images", images, "--csv", tables / "train.csv", "--out", out, *changes)
    scored = out / "scores"
    score = engine(scored, "score", "--images", images, "--csv", tables / "test.csv", "--model", out, "--out", scored)
    return fit, score, scores_of(scored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=CXR_A)
    parser.add_argument("--most", type=int, nargs="+", default=[4000, 2000, 1000, 500, 200, 100])
    parser.add_argument("--rate", type=float, default=0.1)
    given = parser.parse_args()
    with (given.folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    labels = {line["filename"]: line["label"] == "abnormal" for line in lines if line["split"] == "test"}
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in ("train", "test"):
            with (folder / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(lines[0]))
                writer.writeheader()
                writer.writerows(line for line in lines if line["split"] == part)
        truth = np.array(list(labels.values()))
        uncapped = None
        for most in (0, *given.most):
            fit, score, scores = measure(given.folder / "images", folder, folder / f"most-{most}", most, given.rate)
            values = np.array([scores[name] for name in labels])
            uncapped = values if uncapped is None else uncapped
            whole, lost = auroc_interval(truth, values), delong_paired(truth, values, uncapped)
            difference = "–" if most == 0 else f"{lost.difference:+.3f} ({lost.low:+.3f} to {lost.high:+.3f})"
            cells = [f"{whole.auroc:.3f} ({whole.low:.3f}–{whole.high:.3f})", difference]
            rows.append([str(most) if most else "no cap", *cells, f"{fit.seconds:.0f}", f"{score.seconds:.0f}"])
    headings = ("bank_most", "AUROC", "difference", "fit (CPU s)", "score (CPU s)")
    print(tabulate(rows, headings, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
