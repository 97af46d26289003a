"""Readers who label at once, against gunicorn and PostgreSQL as in production.

    python -m benchmarks.load [--readers 50] [--minutes 10] [--every 5] [--labels 0]
                                                            (make load READERS=50 MINUTES=10)

Each reader is logged in and gives one label each 5 seconds, as the page does: with an act of its own, sent again until
it is answered. gunicorn runs with the arguments of the Dockerfile, PostgreSQL flushes each commit to the disk. With
`--labels` each reader stops after so many. Prints a table in Markdown; times are as the reader's machine sees them,
which is this one. Ends with 1 where what was acknowledged and what is stored differ.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from tabulate import tabulate

from benchmarks.mixed_load import Browser, Ledger, Reader
from benchmarks.stack import Database

WEB_WORKERS, WEB_THREADS = 2, 8  # of the Dockerfile
FILMS = 2000
SECONDS_TO_START = 600.0  # as long as a busy machine may need


@contextmanager
def served(folder: Path, database: Database) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a gunicorn that answers, and its first process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "portal.wsgi", "--no-control-socket", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--workers", str(WEB_WORKERS), "--threads", str(WEB_THREADS)]
    with (folder / "gunicorn.log").open("ab") as log:
        process = subprocess.Popen([*command, "--access-logfile", "/dev/null"], stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                if b"200" in connection.recv(64):
                    return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > give_up:
            sys.exit("gunicorn did not start.")
        time.sleep(0.1)


def populate(readers: int, films: int) -> tuple[list[str], list[str]]:
    """The names of the readers and the addresses of the films."""
    from portal.models import Role
    from tests.portal import factories

    site = factories.site("Seoul")
    names = [f"reader{number}" for number in range(readers)]
    for name in names:
        factories.user(name, Role.CURATOR, at=site)
    made = factories.films(factories.dataset("To label", at=site), unlabelled=films)
    return names, [str(film.uuid) for film in made]


class Meter(threading.Thread):
    """CPU seconds and memory of a process and those below it, looked at each second."""

    def __init__(self, process: psutil.Process, stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self.process, self.stopping = process, stopping
        self.most_bytes = 0
        self._began, self._at_start = time.monotonic(), self._cpu_seconds()
        self.cores = 0.0

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _cpu_seconds(self) -> float:
        return sum(times.user + times.system for times in (one.cpu_times() for one in self._all()))

    def run(self) -> None:
        while not self.stopping.wait(1):
            self.most_bytes = max(self.most_bytes, sum(one.memory_info().rss for one in self._all()))
            self.cores = (self._cpu_seconds() - self._at_start) / (time.monotonic() - self._began)


def label_together(
    browsers: Mapping[str, Browser], films: Sequence[str], *, every: float, most: int, seconds: float
) -> Ledger:
    """All readers at once, until the time is over or each has sent `most`."""
    ledger, stopping = Ledger(), threading.Event()
    readers = [
        Reader(ledger, browser, stopping, name, name=name, films=films, every=every, most=most)
        for name, browser in browsers.items()
    ]
    pause = every / len(readers)
    for reader in readers:  # spread over the interval, as people are
        reader.start()
        time.sleep(pause)
    give_up = time.monotonic() + seconds
    for reader in readers:
        reader.join(max(0.0, give_up - time.monotonic()))
    stopping.set()
    for reader in readers:
        reader.join(60)
    return ledger


def report(ledger: Ledger, meter: Meter, *, readers: int, seconds: float) -> int:
    """Print the table. The exit status."""
    from django.db.models import Count

    from benchmarks.invariants import wrong_labels
    from portal.models import LabelEvent

    acts = [label.act for label in ledger.labels]
    stored = dict(LabelEvent.objects.filter(batch__in=acts).values_list("batch").annotate(times=Count("pk")))
    acknowledged = [label for label in ledger.labels if label.acknowledged]
    lost = sum(label.act not in stored for label in acknowledged)
    median, high, highest = np.percentile(ledger.milliseconds or [float("nan")], [50, 95, 99])
    rows = [
        ["labels sent", f"{len(ledger.labels):,}"],
        ["acknowledged", f"{len(acknowledged):,}"],
        ["in the database", f"{len(stored):,}"],
        ["acknowledged and not in the database", str(lost)],
        ["in the database twice", str(sum(times > 1 for times in stored.values()))],
        ["sent again since there was no answer", str(sum(label.tries > 1 for label in ledger.labels))],
        ["median until the answer (ms)", f"{median:.0f}"],
        ["95th percentile (ms)", f"{high:.0f}"],
        ["99th percentile (ms)", f"{highest:.0f}"],
        ["processor of the web server (cores)", f"{meter.cores:.2f}"],
        ["memory of the web server (MiB, most)", f"{meter.most_bytes / 2**20:.0f}"],
    ]
    print(tabulate(rows, [f"{readers} readers, {seconds / 60:.1f} minutes", ""], tablefmt="github"))
    problems = [*ledger.problems, *wrong_labels(ledger.labels)]
    for problem in problems:
        print(problem)
    return 1 if problems or len(stored) != len(acknowledged) else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=5, help="seconds between two labels of a reader")
    parser.add_argument("--labels", type=int, default=0, help="of each reader; 0: until the time is over")
    parser.add_argument("--films", type=int, default=FILMS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped
    folder, database = Path(tempfile.mkdtemp(prefix="hilum-load-")), Database(fsync=True)
    try:
        database.start()
        os.environ |= {"HILUM_ENV": "local", "HILUM_DATA_DIR": str(folder), "DATABASE_URL": database.url}
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        import django

        django.setup()
        names, films = populate(given.readers, given.films)
        with served(folder, database) as (address, web):
            browsers = {name: Browser(address, name) for name in names}
            stopping, began = threading.Event(), time.monotonic()
            meter = Meter(web, stopping)
            meter.start()
            ledger = label_together(browsers, films, every=given.every, most=given.labels, seconds=given.minutes * 60)
            stopping.set()
            meter.join()
            sys.exit(report(ledger, meter, readers=given.readers, seconds=time.monotonic() - began))
    finally:
        database.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
