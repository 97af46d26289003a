"""Run all tests on PostgreSQL, then those marked `both` on SQLite; each prints its twenty slowest tests.

With `--quick`, run the tests that take the least time for what they cover, on PostgreSQL: `make test-quick`. With other
arguments, run only pytest on PostgreSQL with these arguments: `make test ARGS="-k viewer"`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# One process per core, each with its own servers. The tests of a file stay together, since they share fixtures, and
# files come in the order of tests/conftest.py, the longest first. As a process has one core, torch uses one thread:
# several would wait by spinning and take time from the other processes.
QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
SIDE_BY_SIDE = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
WHOLE_SUITE = [*SIDE_BY_SIDE, "--durations=20"]
# Under three minutes on two cores: rules of the project, portal, statistics and memory banks. Not: browser, whole runs
# of the engine, workers and child processes, pages of runs and results, the walk over all URLs, upgrades.
QUICK_PATHS = [
    "tests/test_project.py",
    "tests/test_mirror.py",
    "tests/test_docs.py",
    "tests/portal",
    "tests/analysis/statistics",
    "tests/analysis/figures",
    "tests/ml_engine/core/bank",
    "tests/ml_engine/templatetags",
    "tests/tools/test_run_tests.py",
]
QUICK = [*SIDE_BY_SIDE, "-m", "not slow and not browser", *QUICK_PATHS]


def run_pytest(title: str, arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run pytest and show its output. Return its exit status and its last line."""
    print(f"\n=== {title} ===", flush=True)
    # without compiled modules each of the many child processes compiles the project, and each run rewrites all asserts
    environment = {**os.environ, **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", "--color=no", *arguments]
    tail = b""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        while piece := process.stdout.read1(65536):  # type: ignore[attr-defined]
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            tail = (tail + piece)[-4000:]
    status = process.returncode
    lines = tail.decode(errors="replace").strip().splitlines()
    return status, lines[-1].strip() if lines else "pytest printed nothing"


def main() -> int:
    arguments = [*QUICK, *sys.argv[2:]] if sys.argv[1:2] == ["--quick"] else sys.argv[1:]
    steps = [("PostgreSQL", arguments or WHOLE_SUITE, {"HILUM_TEST_DATABASE": "postgresql", **QUIET})]
    if not arguments:
        steps.append(("SQLite", ["-m", "both", *WHOLE_SUITE], {"HILUM_TEST_DATABASE": "sqlite", **QUIET}))
    started = time.monotonic()
    closing = [
        (title, *run_pytest(f"Tests on {title}", pytest_arguments, env)) for title, pytest_arguments, env in steps
    ]
    failed = [title for title, status, _ in closing if status != 0]
    print(f"\n=== Both ended after {time.monotonic() - started:.0f} s ===" if len(closing) > 1 else "")
    for title, status, line in closing:
        print(f"{title}: {'failed' if status else 'passed'}, exit status {status}")
        print(line, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
