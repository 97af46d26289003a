"""Fuzz the reader of films and the parser of tables for some minutes, each in a process of its own.

    python -m tests.fuzz.run [--minutes 10] [--target reader]        (make fuzz MINUTES=10)

Guided by coverage with atheris, or blindly where it is not installed. Inputs that break a promise are kept in
`var/fuzz`, as are the inputs that reached new branches, from which the next run goes on.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random

from tests.paths import ROOT

SECONDS_OF_ONE, MEBIBYTES = 20, 2048
# modules whose branches the fuzzer follows
MODULES = {
    "reader": ["portal.imaging", "pydicom"],
    "tables": ["portal.intake", "portal.imaging.views", "csv", "openpyxl"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of all targets together")
    parser.add_argument("--target", choices=("reader", "tables"), help="only this one")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    targets = [given.target] if given.target else ["reader", "tables"]
    if given.child:
        fuzz(given.target, 60 * given.minutes)
        return
    failed = []
    for target in targets:
        share = str(given.minutes / len(targets))
        command = [sys.executable, "-m", "tests.fuzz.run", "--child", "--target", target, "--minutes", share]
        environment = {**os.environ, "RUST_BACKTRACE": "0"}  # a panic of the RLE decoder is an answer, not news
        if subprocess.run(command, cwd=ROOT, env=environment).returncode:
            failed.append(target)
    if failed:
        sys.exit(f"The fuzzer broke: {', '.join(failed)}. The inputs are in {folder_of('')}.")
    print("Nothing broke.")


def folder_of(target: str) -> Path:
    return ROOT / "var" / "fuzz" / target


def fuzz(target: str, seconds: float) -> None:
    corpus, broken = folder_of(target) / "inputs", folder_of(target) / "broken"
    for folder in (corpus, broken):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        if find_spec("atheris"):
            guided(target, seconds, corpus, broken, Path(scratch))
        else:
            print("atheris is not installed, so inputs are drawn blindly: pip install -c constraints.txt -e '.[fuzz]'")
            blind(target, seconds, broken, Path(scratch))


def guided(target: str, seconds: float, corpus: Path, broken: Path, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=MODULES[target]):
        targets = import_module("tests.fuzz.targets")
        import_module("portal.imaging.dicom")
    for number, seed in enumerate(targets.seeds(target)):
        (corpus / f"seed-{number:02d}").write_bytes(seed)
    run = targets.TARGETS[target]
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={int(seconds)}",
            f"-max_len={targets.MOST_BYTES}",
            f"-timeout={SECONDS_OF_ONE}",
            f"-rss_limit_mb={MEBIBYTES}",
            f"-artifact_prefix={broken}/",
            "-print_final_stats=1",
            "-verbosity=1",
            str(corpus),
        ],
        lambda data: run(data, folder),
    )
    atheris.Fuzz()


def blind(target: str, seconds: float, broken: Path, folder: Path) -> None:
    from tests.fuzz import targets

    random, starts = Random(time.time_ns()), targets.seeds(target)
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        data = targets.mutated(random.choice(starts), starts, random)
        try:
            targets.TARGETS[target](data, folder)
        except BaseException:
            (broken / f"{count:08d}").write_bytes(data)
            raise
        count += 1
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{target}: {count:,} inputs in {seconds:g} s, {memory} MiB")


if __name__ == "__main__":
    main()
