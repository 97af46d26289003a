"""How much faster two workers of one core each score films than one: `score --range` in two processes, then `merge`.

    python -m benchmarks.ranges [--films 2000] [--size 224] [--backbone resnet18]
    python -m benchmarks.ranges --banks 16 --films 200

Draws phantoms, fits a detector on 40 of them, and scores all twice: by one process on the first core, and in two ranges
by two processes at once, each kept to a core of its own, which are then merged. Every process has one thread. The goal
is 1.6 times by the clock, which only a machine that does nothing else can show. The ratio by CPU is what the clock
would show there: the CPU seconds of the one process by those of the longer of the two and the merge together. It is
also the profile: what is missing from 2 is what each process does once, start and loading, and the merge. The folders
must have the same bytes. With --banks it is a study of so many banks instead, with a third of the films in test; what
all banks share, films and features, is computed by one process before the two begin. Prints a table in Markdown; exits
with 1 where bytes differ or where the ratio by CPU is below 1.6, of scoring alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmarks.memory import draw_films
from ml_engine.core import files
from ml_engine.engine import manifest, shards
from ml_engine.engine.run_folder import RunSpec, write_run_folder
from ml_engine.engine.stages import study_cells

LEAST_RATIO = 1.6
FITTED_ON = 40
EXEMPT = {"events.jsonl", "log.txt", "lock"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock, and of CPU of each process."""

    clock: float
    cpu: list[float]


def run_at_once(commands: list[list[str]], cores: list[int]) -> Taken:
    """Run the commands at once, each on its core."""
    began = time.monotonic()
    processes = [_start(command, core) for command, core in zip(commands, cores, strict=True)]
    cpu = []
    for process, command in zip(processes, commands, strict=True):
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}.")
        cpu.append(_seconds(used))
    return Taken(time.monotonic() - began, cpu)


def _start(command: list[str], core: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ml_engine", *command],
        # results name the commit, and one made meanwhile would look like other bytes
        env={**os.environ, **ONE_THREAD, "HILUM_CODE_VERSION": "benchmark"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # no other thread runs here
    )


def _seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def digest(folder: Path) -> dict[str, str]:
    results = [path for path in folder.rglob("*") if path.is_file() and path.name not in EXEMPT]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--banks", type=int, default=0, help="measure a study of so many banks, 2 to 20")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("This needs two cores.")
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        one, shared, two, merge = (measure_banks if options.banks else measure)(base, options, cores)
        same = digest(base / "one") == digest(base / "two")
    longest = max(two.cpu)
    by_clock = one.clock / (shared.clock + two.clock + merge.clock)
    by_cpu = one.cpu[0] / (shared.cpu[0] + longest + merge.cpu[0])
    rows = [
        ["one worker", f"{one.clock:.1f}", f"{one.cpu[0]:.1f}"],
        *([["shared", f"{shared.clock:.1f}", f"{shared.cpu[0]:.1f}"]] if options.banks else []),
        ["two workers", f"{two.clock:.1f}", " and ".join(f"{seconds:.1f}" for seconds in two.cpu)],
        ["merge", f"{merge.clock:.1f}", f"{merge.cpu[0]:.1f}"],
        ["ratio", f"{by_clock:.2f}", f"{by_cpu:.2f}"],
    ]
    print(tabulate(rows, [f"{options.films} films", "by the clock (s)", "CPU (s)"], "github", disable_numparse=True))
    print(f"\nThe bytes of both are {'the same' if same else 'DIFFERENT'}.")
    if not same or (by_cpu < LEAST_RATIO and not options.banks):
        raise SystemExit(1)


def measure(base: Path, options: argparse.Namespace, cores: list[int]) -> tuple[Taken, Taken, Taken, Taken]:
    """One process; what two processes share, nothing; the two; the merge."""
    fit_csv = draw_films(base / "fit", FITTED_ON)
    draw_films(base / "films", options.films, seed=1000)
    settings = ["--weights", "random", "--backbone", options.backbone, "--size", str(options.size)]
    settings += ["--threads", "1", "--align", "none", "--set", "controls=0", "--set", "cross_fit=no"]
    model = str(base / "model")
    run_at_once([["fit", "--images", str(base / "fit"), "--csv", str(fit_csv), "--out", model, *settings]], cores[:1])
    films = ["--images", str(base / "films")]
    score = ["score", *films, "--csv", str(base / "films" / "all.csv"), "--model", model]
    one = run_at_once([[*score, "--out", str(base / "one")]], cores[:1])
    half = options.films // 2
    ranges = [[*score, "--out", str(base / "two"), "--range", text] for text in (f"0:{half}", f"{half}:")]
    two = run_at_once(ranges, cores[:2])
    merge = run_at_once([["merge", str(base / "two"), *films]], cores[:1])
    return one, Taken(0.0, [0.0]), two, merge


def measure_banks(base: Path, options: argparse.Namespace, cores: list[int]) -> tuple[Taken, Taken, Taken, Taken]:
    """As `measure`, of a study of half of the films, drawn again and again, and of all."""
    table = base / "films" / "study.csv"
    _name_parts(draw_films(base / "films", options.films), table)
    images, whole, divided = ["--images", str(base / "films")], base / "one", base / "two"
    study = ["bank-study", *images, "--csv", str(table), "--weights", "random", "--backbone", options.backbone]
    study += ["--size", str(options.size), "--threads", "1", "--align", "none", "--contaminations", "0"]
    study += ["--shares", "0.5,1", "--repeats", str(options.banks - 1)]
    one = run_at_once([[*study, "--out", str(whole)]], cores[:1])
    request, rows = files.read_json(whole / "run.json"), manifest.read(whole / "images.csv")
    write_run_folder(divided, request, rows)
    shared = run_at_once([["run", str(divided), "--shared", *images]], cores[:1])
    spec = RunSpec.from_json(request)
    cells = study_cells.cells_of(spec)
    ranges = []
    for first, end in study_cells.ranges(cells, -(-len(cells) // 2)):
        shard = study_cells.shard_of(spec, first, end)
        folder = shard.folder_in(divided)
        study_cells.start_range(divided, folder, cells[first], leader=None)
        write_run_folder(folder, request | {shards.KEY: shard.to_json()}, rows)
        ranges.append(["run", str(folder), *images])
    two = run_at_once(ranges, cores[:2])
    merge = run_at_once([["merge", str(divided), *images]], cores[:1])
    return one, shared, two, merge


def _name_parts(drawn: Path, table: Path) -> None:
    """Write the CSV of a study: of three films two are of train, and one of test."""
    with drawn.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for number, row in enumerate(rows):
            split = "train" if number % 3 else "test"
            writer.writerow(
                {"filename": row["filename"], "label": "normal", "patient_id": f"p{number}", "split": split}
            )


if __name__ == "__main__":
    main()
