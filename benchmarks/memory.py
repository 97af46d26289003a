"""Peak memory, disk and time of a fit and of a score by number of films, each run in a process of its own.

    python -m benchmarks.memory [--films 200 400 800] [--backbone tf_efficientnet_lite2] [--set FIELD=VALUE ...]

Draws normal phantom films as PNG of 256 pixels: 64 of them, and the others from these with their contrast changed a
little, since drawing takes longer than a fit. Memory is the kernel's VmHWM, which counts mapped pages of files; disk is
the largest size of the run folder; seconds are of CPU. Weights are random: memory and time do not depend on them.
Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tabulate import tabulate

from portal.imaging.phantom import make_phantom

DRAWN = 64
SIDE = 256
PARTS = (("fit", 0.7), ("tune", 0.1), ("calibrate", 0.2))


@dataclass(frozen=True)
class Measured:
    """What a run took: peak memory and largest folder in MiB, seconds of CPU, and the peak at the end of each stage."""

    memory_mib: float
    disk_mib: float
    seconds: float
    stages: dict[str, float]


def draw_films(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Write ``count`` normal phantoms, films.csv with one patient a film and the parts `PARTS`, and all.csv without
    parts; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [_picture(seed + k) for k in range(min(count, DRAWN))]
    rng = np.random.default_rng(seed)
    with (folder / "films.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["filename", "label", "patient_id", "split"])
        for number in range(count):
            values = drawn[number % len(drawn)]
            if number >= len(drawn):
                values = 255 * (values / 255) ** rng.uniform(0.8, 1.25) + rng.normal(0, 2, values.shape)
            name = f"{number:05}.png"
            Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).save(folder / name, compress_level=1)
            table.writerow([name, "normal", f"p{number}", _part(number, count)])
    names = sorted(path.name for path in folder.glob("*.png"))[:count]
    (folder / "all.csv").write_text("\n".join(["filename", *names]) + "\n", encoding="utf-8")
    return folder / "films.csv"


def _picture(seed: int) -> np.ndarray:
    phantom = make_phantom(seed=seed, person_seed=seed, finding=None, size=SIDE, photometric="MONOCHROME2")
    values = phantom.pixels.astype(np.float64)
    low, high = np.percentile(values, [0.5, 99.5])
    return 255 * ((values - low) / (high - low)).clip(0, 1)


def _part(number: int, count: int) -> str:
    """Every tenth film is of tune, and so on, so that the parts have the same films at every count."""
    place, reached = number % 10 / 10, 0.0
    for part, share in PARTS:
        reached += share
        if place < reached - 1e-9:
            return part
    return PARTS[-1][0]


def engine(out: Path, *arguments: object) -> Measured:
    """Run a command of the engine in a process of its own and measure it."""
    ended = threading.Event()
    sizes = [0.0]
    watch = threading.Thread(target=_watch, args=(out, ended, sizes), daemon=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    watch.start()
    process = subprocess.run(
        [sys.executable, "-m", "ml_engine", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended.set()
    watch.join()
    if process.returncode:
        raise RuntimeError(process.stderr[-2000:])
    stages = dict(_peaks(out / "events.jsonl"))
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(max(stages.values()), max(sizes), seconds, stages)


def _watch(out: Path, ended: threading.Event, sizes: list[float]) -> None:
    while not ended.wait(0.2):
        sizes.append(sum(_size(path) for path in out.rglob("*")) / 2**20)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # deleted in between
        return 0


def _peaks(events: Path) -> Iterator[tuple[str, float]]:
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if "stage" in event:
            yield event["stage"], event["memory_mib"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, nargs="+", default=[200, 400, 800])
    parser.add_argument("--backbone", default="tf_efficientnet_lite2")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args()
    changes = ("weights=random", f"backbone={options.backbone}", "align=none", "controls=0", *options.set)
    chosen = [part for change in changes for part in ("--set", change)]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for count in options.films:
            films, out = Path(temporary) / "films", Path(temporary) / f"out-{count}"
            table = draw_films(films, count)
            fit = engine(out, "fit", "--images", films, "--csv", table, "--out", out, *chosen)
            all_films = ("--images", films, "--csv", films / "all.csv")
            score = engine(out / "scores", "score", *all_films, "--model", out, "--out", out / "scores")
            print(count, fit, score, file=sys.stderr)
            for what, run in (("fit", fit), ("score", score)):
                highest = max(run.stages, key=lambda name: (run.stages[name],))
                numbers = (run.memory_mib, run.disk_mib, run.seconds, 1000 * run.seconds / count)
                rows.append([what, str(count), *(f"{number:.0f}" for number in numbers), highest])
    headings = ("run", "films", "peak memory (MiB)", "disk (MiB)", "CPU (s)", "CPU (ms/film)", "peak reached in")
    print(tabulate(rows, headings, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
