"""Which process runs the embedded portal on a data folder. The process holds a lock for as long as it lives."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

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

    def __init__(self, state: Path, running: Running) -> None:
        self._state = state
        self._running = running

    def publish(self, *, address: str, children: dict[str, int]) -> None:
        self._running.address, self._running.children = address, children
        temporary = self._state.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self._running)))
        temporary.replace(self._state)


@contextmanager
def claimed(data_dir: Path, *, command: str) -> Iterator[Claim]:
    """Hold the data folder inside the block. Raises AlreadyRuns with who holds it."""
    state, lock = _files(data_dir)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        deadline = time.monotonic() + SECONDS_TO_CLAIM
        while not _lock(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise AlreadyRuns(str(_read(state) or "a process that is just starting"))
            time.sleep(0.05)
        now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        claim = Claim(state, Running(os.getpid(), command, now.isoformat(sep=" "), address=""))
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
