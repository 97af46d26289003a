"""How near a forecast is to what then happens: seconds, peak memory and disk of four different runs.

    python -m benchmarks.forecasts [--films 60]

Draws phantom films, forecasts each run by ``python -m ml_engine forecast`` and runs it, each in a process of its own on
one thread with random weights. Seconds are of CPU, as long as a run takes on a machine that does nothing else. Prints a
table in Markdown, and exits with 1 where a forecast is wrong by more than a factor of two.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

from benchmarks.memory import Measured, draw_films, engine

LARGEST_RATIO = 2.0
COMMON = ("weights=random", "threads=1", "controls=0")
QUICK_SEARCH = ("alignment.search_steps=20", "alignment.size=128")
FITS = {
    "fit, EfficientNet-Lite2": ("align=none",),
    "fit, EfficientNet-Lite2, aligned by search": ("align=network", *QUICK_SEARCH),
    "fit, Wide-ResNet-50-2, 10 % banks": ("align=none", "backbone=wide_resnet50_2", "rate=0.1", "cross_fit=no"),
}


def arguments(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def forecast(*given: object) -> dict[str, float]:
    command = [sys.executable, "-m", "ml_engine", "forecast", "--json", *map(str, given)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    made: dict[str, float] = json.loads(printed)
    return made


def row(what: str, films: int, made: dict[str, float], measured: Measured) -> tuple[list[str], float]:
    """A row of the table, and by how much the worst of its forecasts is wrong."""
    pairs = [
        (made["seconds"], measured.seconds),
        (made["memory_gib"] * 1024, measured.memory_mib),
        (made["disk_gib"] * 1024, measured.disk_mib),
    ]
    cells = [f"{expected:.0f} / {took:.0f} ({expected / took:.2f})" for expected, took in pairs]
    return [what, str(films), *cells], max(max(e / took, took / e) for e, took in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=60)
    count = parser.parse_args().films
    rows, worst = [], 0.0
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        films = base / "films"
        table = draw_films(films, count)
        model = base / "0"
        for number, (what, settings) in enumerate(FITS.items()):
            out = base / str(number)
            given = ("--images", films, "--csv", table, *arguments((*COMMON, *settings)))
            made, measured = forecast(*given), engine(out, "fit", *given, "--out", out)
            cells, ratio = row(what, count, made, measured)
            rows, worst = [*rows, cells], max(worst, ratio)
            print(cells, file=sys.stderr)
        given = ("--images", films, "--csv", films / "all.csv", "--model", model)
        made, measured = forecast(*given), engine(base / "scores", "score", *given, "--out", base / "scores")
        cells, ratio = row("score, EfficientNet-Lite2", count, made, measured)
        rows, worst = [*rows, cells], max(worst, ratio)
    headings = ("run", "films", "CPU (s), forecast / taken", "peak memory (MiB)", "disk (MiB)")
    print(tabulate(rows, headings, tablefmt="github", disable_numparse=True))
    print(f"\nThe worst forecast is wrong by a factor of {worst:.2f}.")
    sys.exit(worst > LARGEST_RATIO)


if __name__ == "__main__":
    main()
