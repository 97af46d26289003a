"""Which process runs the embedded portal on a data folder. The process holds a lock for as long as it lives. Its
children share another one, so that those are known that are left where it and its watchdog were killed."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from portal.project import watchdog

SECONDS_TO_CLAIM = 1.0  # a command that only looks holds the lock for an instant


@dataclass
class Running:
    """The portal as `manage.py status` shows it."""

    pid: int
    command: str
    started_at: str  # UTC, to the second, ISO 8601
    address: str
    children: dict[str, int] = field(default_factory=dict)  # name -> process number

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command}), since {self.started_at} UTC"


class AlreadyRuns(Exception):
    """Another process runs the portal on this data folder."""


class Claim:
    """The data folder is this process's own. `publish` says what the process runs."""

    def __init__(self, state: Path, running: Running, descriptor: int) -> None:
        self._state = state
        self._running = running
        self.descriptor = descriptor  # of the lock that the children share: pass it to each

    def publish(self, *, address: str, children: dict[str, int]) -> None:
        self._running.address, self._running.children = address, children
        temporary = self._state.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self._running)))
        temporary.replace(self._state)


@contextmanager
def claimed(data_dir: Path, *, command: str) -> Iterator[Claim]:
    """Hold the data folder inside the block, after ending what an earlier holder that was killed left. Raises
    AlreadyRuns with who holds it."""
    state, lock = _files(data_dir)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        deadline = time.monotonic() + SECONDS_TO_CLAIM
        while not _lock(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise AlreadyRuns(str(_read(state) or "a process that is just starting"))
            time.sleep(0.05)
        watchdog.end(_left(data_dir).values())
        now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        with _of_children(data_dir).open("a") as shared:
            _lock(shared.fileno(), fcntl.LOCK_EX)
            running = Running(os.getpid(), command, now.isoformat(sep=" "), address="")
            claim = Claim(state, running, shared.fileno())
            claim.publish(address="", children={})
            try:
                yield claim
            finally:
                state.unlink(missing_ok=True)


def who_runs(data_dir: Path) -> Running | None:
    """The portal that runs on the data folder now; None if none does."""
    state, lock = _files(data_dir)
    if not lock.exists():
        return None
    with lock.open("a") as file:
        if _lock(file.fileno(), fcntl.LOCK_SH):
            return None
    return _read(state)


def left_behind(data_dir: Path) -> dict[str, int]:
    """Name -> process number of the children that are left of a portal that does not run any more."""
    return {} if who_runs(data_dir) else _left(data_dir)


def _left(data_dir: Path) -> dict[str, int]:
    shared = _of_children(data_dir)
    if not shared.exists():
        return {}
    with shared.open("a") as file:
        if _lock(file.fileno(), fcntl.LOCK_SH):
            return {}
    portal = _read(_files(data_dir)[0])
    children = portal.children if portal else {}
    return {name: pid for name, pid in children.items() if _has_open(pid, shared)}


def in_words(processes: dict[str, int]) -> str:
    return ", ".join(f"{name} (process {pid})" for name, pid in processes.items())


def end_left(data_dir: Path) -> dict[str, int]:
    """End what is left of a portal that was killed, and return it as `left_behind` does."""
    left = left_behind(data_dir)
    watchdog.end(left.values())
    return left


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open; where the system does not say it, whether it leads a group of its own. A
    process number may belong to another process by now."""
    descriptors = Path("/proc") / str(pid) / "fd"
    try:
        if Path("/proc/self/fd").exists():
            return any(link.readlink() == path.resolve() for link in descriptors.iterdir())
        return os.getpgid(pid) == pid
    except OSError:  # it has ended, or is of another user
        return False


def wait_until_stopped(data_dir: Path, *, seconds: float) -> bool:
    """Whether no portal runs on the data folder any more, after waiting at most `seconds`."""
    deadline = time.monotonic() + seconds
    while who_runs(data_dir) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _files(data_dir: Path) -> tuple[Path, Path]:
    return data_dir / "run" / "portal.json", data_dir / "run" / "portal.lock"


def _of_children(data_dir: Path) -> Path:
    return data_dir / "run" / "children.lock"


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(state: Path) -> Running | None:
    try:
        return Running(**json.loads(state.read_text()))
    except FileNotFoundError:
        return None
