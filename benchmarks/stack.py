"""The whole portal on this machine, as `manage.py start` runs it, on a PostgreSQL that keeps what it has acknowledged.

For benchmarks.soak and benchmarks.load. Where the machine allows it, the database's clock can be moved (libfaketime)
and the data folder is a small disk of its own that can be filled (a tmpfs in a mount namespace of this process; needs
root). The clock of the portal's own processes stays: under libfaketime 0.9.10 with a true monotonic clock, Python's
`time.sleep` fails.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from portal.project.watchdog import Watchdog
from tests.servers import MIGRATED, copy_cluster, find_postgresql, short_folder, unprivileged_account

DISK_MIB = 512
SECONDS_TO_START = 600.0  # as long as a busy machine may need
FIRST_PORT = 18_000
SETTINGS = {  # of every process of the stack
    "HILUM_ENV": "local",
    "HILUM_DEVICE": "cpu",
    "HILUM_CODE_VERSION": "soak",
    "HILUM_FREE_DISK_GIB": "0",  # writes meet a disk that is really full
    "HILUM_RUN_LEASE_SECONDS": "15",
    "HILUM_SHARD_FILMS": "16",
    "HILUM_IMPORT_PROCESSES": "1",
    "HILUM_ENGINE_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


class Database:
    """A PostgreSQL with crash safety as in production, but for `fsync`, which only a power failure needs."""

    def __init__(self, environment: Mapping[str, str] | None = None, *, fsync: bool = False) -> None:
        binaries = find_postgresql()
        if binaries is None:
            sys.exit("PostgreSQL is not here: install it (Debian: apt-get install postgresql).")
        self._folder = short_folder("hilum-pg-")
        self._binaries, self._data = copy_cluster(binaries, self._folder)
        self._environment = {**os.environ, **(environment or {})}
        self._fsync = fsync
        self._watchdog = Watchdog()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://hilum@/{MIGRATED}?host={self._folder}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns once it answers. After a kill it waits for the last of the former processes to end."""
        give_up = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if time.monotonic() > give_up:
                raise RuntimeError(f"PostgreSQL did not start; see {self._folder}/server.log")
            if self._process is None or self._process.poll() is not None:
                self._forget()
                self._launch()
            time.sleep(0.1)

    def _launch(self) -> None:
        options = ["listen_addresses=", f"fsync={'on' if self._fsync else 'off'}", "synchronous_commit=on"]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self._folder)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(f"-c{option}" for option in options)],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **unprivileged_account(),
            )
        self._watchdog.watch(self._process.pid)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _forget(self) -> None:
        if self._process is not None:
            self._watchdog.forget(self._process.pid)
            self._process = None

    def kill(self) -> None:
        """kill -9 of the server's first process; the others end as soon as they notice."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_connection(self) -> None:
        """kill -9 of the process of one connection: the server then ends all others and recovers by itself."""
        processes = psutil.Process(self.pid).children()
        serving = [one for one in processes if "hilum" in " ".join(_command_of(one))]
        if serving:
            serving[0].kill()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=SECONDS_TO_START)
        self._forget()
        self._watchdog.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


# --- a clock and a disk that can go wrong -------------------------------------------------------


def find_libfaketime() -> Path | None:
    found = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


class Clock:
    """What processes with `environment` take for the time; others, and the monotonic clock, stay as they are."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds between two looks at the file
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Be so many seconds ahead of the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.chmod(0o644)
        new.rename(self._file)


class Disk:
    """A small disk at `folder`. Raises OSError where this process may not mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        private, recursive, new_namespace = 1 << 18, 1 << 14, 0x00020000
        done = libc.unshare(new_namespace) == 0 and libc.mount(b"none", b"/", None, private | recursive, None) == 0
        size = f"size={DISK_MIB}m".encode()
        if not done or libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, size):
            raise OSError(ctypes.get_errno(), "no disk of its own can be mounted here")

    def fill(self) -> None:
        """Leave no byte."""
        with (self.folder / "fill").open("ab", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        (self.folder / "fill").unlink(missing_ok=True)


# --- everything together ------------------------------------------------------------------------


class Stack:
    """`database`, `portal` (the children of `manage.py start`), and, where they can be had, the database's `clock` and
    the `disk` of the data folder."""

    def __init__(self, database: Database, clock: Clock | None, disk: Disk | None, data: Path) -> None:
        self.database, self.clock, self.disk, self.data = database, clock, disk, data
        self.portal: Any = None
        self.failed = False  # whoever uses it says so
        self.keeps_logs = True

    @property
    def address(self) -> str:
        return str(self.portal.address).rstrip("/")

    def pid(self, name: str) -> int:
        """Of a child of the portal: broker, web, upkeep, runs or imports."""
        return next(int(child.process.pid) for child in self.portal._children if child.name == name)

    def descendants(self, name: str, word: str) -> list[psutil.Process]:
        """The processes below a child whose command has this word."""
        try:
            below = psutil.Process(self.pid(name)).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in below if word in _command_of(process)]

    def start_again(self) -> None:
        """Whatever does not run."""
        self.database.start()
        self.portal.keep_alive()

    def all_run(self) -> bool:
        return all(child.process.poll() is None for child in self.portal._children)

    def left_over(self) -> list[str]:
        """Processes of this data folder."""
        mark = f"HILUM_DATA_DIR={self.data}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120])
        return found


@contextmanager
def whole_stack(*, faulty_disk: bool = True, faulty_clock: bool = True) -> Iterator[Stack]:
    """The portal with all of its processes, and Django set up in this one, which must not have happened before. The
    logs of one that failed are kept and named. Raises RuntimeError where processes are left over."""
    folder = short_folder("hilum-soak-")
    folder.chmod(0o755)  # the database's account reads its clock there
    data, disk = folder / "data", None
    if faulty_disk:
        with suppress(OSError):
            disk = Disk(data)
    data.mkdir(exist_ok=True)
    library = find_libfaketime() if faulty_clock else None
    clock = Clock(library, folder / "clock") if library else None
    database = Database(clock.environment if clock else None)
    stack = Stack(database, clock, disk, data)
    try:
        database.start()
        os.environ |= {**SETTINGS, "DATABASE_URL": database.url, "HILUM_DATA_DIR": str(data)}
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        import django

        django.setup()
        stack.portal = _patient_portal()
        with stack.portal:
            yield stack
        if left := _wait_until_gone(stack):
            raise RuntimeError("These processes are left over: " + "; ".join(left))
        stack.keeps_logs = stack.failed
    finally:
        if stack.keeps_logs and (data / "logs").is_dir():
            kept = Path(tempfile.mkdtemp(prefix="hilum-soak-logs-"))
            shutil.copytree(data / "logs", kept, dirs_exist_ok=True)
            print(f"logs of the stack: {kept}", file=sys.stderr)
        database.stop()
        if disk is not None:
            ctypes.CDLL(None).umount2(os.fsencode(data), 2)
        shutil.rmtree(folder, ignore_errors=True)


def _patient_portal() -> Any:
    from portal.project.embedded import Portal

    class PatientPortal(Portal):
        """Waits as long as a busy machine may need to start."""

        def _wait_until(self, ready: Callable[[], bool], what: str, *, seconds: float) -> None:
            super()._wait_until(ready, what, seconds=max(seconds, SECONDS_TO_START))

    return PatientPortal(port=FIRST_PORT)


def _wait_until_gone(stack: Stack) -> list[str]:
    give_up = time.monotonic() + 120
    while (left := stack.left_over()) and time.monotonic() < give_up:
        time.sleep(0.2)
    return left
