"""Run time, peak memory and AUROC of the command line on a folder of films with labels.csv.

    python benchmarks/cxr_a_table.py FOLDER [--out DIR] [--only VARIANT] -- --weights random --seed 0

FOLDER holds ``images`` and ``labels.csv``; options after ``--`` are passed to ``fit``. Fits four models, aligned or
not and masked or not, scores the test rows and prints a Markdown table. With random weights the table shows the cost
and that the parts work together, not the performance of the method.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tabulate import tabulate

from ml_engine.core.score.auroc import auroc
from ml_engine.engine.reports import DetectorReport

VARIANTS = {
    "not aligned, masked": ("none", "--mask"),
    "not aligned, not masked": ("none", "--no-mask"),
    "aligned, masked": ("network", "--mask"),
    "aligned, not masked": ("network", "--no-mask"),
}
COLUMNS = ("global", "region", "fused")


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    peak_mib: float


def run(*arguments: object) -> Cost:
    """Run an engine command in its own process and measure wall-clock time, CPU time and peak memory."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "ml_engine", *map(str, arguments)])
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"the engine ended with {os.waitstatus_to_exitcode(status)}: {' '.join(map(str, arguments))}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def aurocs(scores: Path, labels: Path) -> list[float]:
    with labels.open(newline="", encoding="utf-8-sig") as file:
        abnormal = {row["filename"]: row["label"] == "abnormal" for row in csv.DictReader(file)}
    with scores.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["error"]]
    truth = np.array([abnormal[row["filename"]] for row in rows])
    return [auroc(np.array([float(row[name]) for row in rows]), truth) for name in COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="keep models and scores here")
    parser.add_argument("--only", choices=VARIANTS, action="append", help="only this variant; can be repeated")
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, rest = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    out = options.out or Path(tempfile.mkdtemp(prefix="cxr-a-"))
    data = ["--images", options.folder / "images", "--csv", options.folder / "labels.csv"]
    headings = ["", "fit s (CPU s)", "peak MiB", "score s (CPU s)", "peak MiB", "mask keeps", "w", *COLUMNS]
    rows = []
    for name in options.only or VARIANTS:
        align, mask = VARIANTS[name]
        model, scores = out / name.replace(", ", "-"), out / f"{name.replace(', ', '-')}-scores"
        fit = run("fit", *data, "--out", model, "--align", align, mask, *rest)
        score = run("score", *data, "--model", model, "--out", scores)
        report = DetectorReport.read(model)
        cells = [
            name,
            f"{fit.seconds:.0f} ({fit.cpu_seconds:.0f})",
            f"{fit.peak_mib:.0f}",
            f"{score.seconds:.0f} ({score.cpu_seconds:.0f})",
            f"{score.peak_mib:.0f}",
            f"{report.mask.share_kept:.0%}",
            f"{report.fusion_weight:g}",
            *(f"{value:.3f}" for value in aurocs(scores / "scores.csv", options.folder / "labels.csv")),
        ]
        rows.append(cells)
        print(*cells, sep="; ", file=sys.stderr, flush=True)  # kept where a later one fails
    print(tabulate(rows, headings, tablefmt="github", disable_numparse=True))
    if not options.out:
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
