"""The embedded default: broker, web server and workers as children of one process, started and stopped together.

A child that dies is restarted; Ctrl-C, TERM or a closed terminal stops them all, the workers first, so that a run can
be requeued. If this process is killed, a watchdog stops them.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

from portal.intake.waiting import AT_ONCE
from portal.project import broker, environment
from portal.project.running import Claim
from portal.project.watchdog import SECONDS_TO_STOP, Watchdog

SECONDS_BETWEEN_RESTARTS = 1.0


class CannotStart(Exception):
    """A sentence for the user."""


@dataclass
class Child:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0


class Portal:
    """`with Portal(port=8000) as portal:` serves `portal.address` inside the block. A claim tells other processes of
    this one."""

    def __init__(self, *, port: int = 8000, host: str = "127.0.0.1", claim: Claim | None = None) -> None:
        self.host = host
        self._claim = claim
        self.port = free_port(host, port)
        self.logs = Path(settings.DATA_DIR) / "logs"
        self._children: list[Child] = []
        self._log_files: list[IO[bytes]] = []

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}{settings.URL_PREFIX}/"

    def __enter__(self) -> "Portal":
        self.logs.mkdir(parents=True, exist_ok=True)
        self._watchdog = Watchdog()
        try:
            self._start_broker()
            self._start(Child("web", _web_command(self.host, self.port)))
            self._start(Child("upkeep", _worker_command("upkeep", "--beat", "--schedule", _schedule())))
            for name in names_of_run_workers():
                self._start(Child(name, _worker_command("gpu", hostname=name)))
            self._start(Child("imports", _worker_command("cpu", at_once=AT_ONCE)))
            self._wait_until(self._web_answers, "the web server", seconds=60)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def keep_alive(self) -> None:
        """Restart children that died. Call it periodically."""
        self._watchdog.keep_alive()
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            if time.monotonic() - child.started_at > SECONDS_BETWEEN_RESTARTS:
                self._watchdog.forget(child.process.pid)
                self._launch(child)

    def stop(self) -> None:
        """Stop the children in reverse order of their start, each with its own children."""
        for child in reversed(self._children):
            self._end(child)
        self._watchdog.close()
        for file in self._log_files:
            file.close()
        self._children, self._log_files = [], []

    def _start_broker(self) -> None:
        if not settings.CELERY_BROKER_URL.startswith("redis+socket://"):
            return
        program = broker.find_program()
        if program is None:
            raise CannotStart(
                "There is no Valkey or Redis server: install valkey-server or redis-server, "
                "or use Python 3.11 or 3.12, where the installation includes one."
            )
        path = environment.broker_socket(Path(settings.DATA_DIR))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(settings.DATA_DIR) / "broker"
        folder.mkdir(exist_ok=True)
        if broker.listens(path):
            raise CannotStart(
                f"A broker of an earlier start still runs with the data folder {settings.DATA_DIR} "
                f"(process {broker.process_of(path)}): end it with `manage.py stop`."
            )
        self._start(Child("broker", broker.command(program, path, folder)))
        self._wait_until(lambda: broker.listens(path), "the broker", seconds=20)

    def _start(self, child: Child) -> None:
        self._children.append(child)
        self._launch(child)

    def _launch(self, child: Child) -> None:
        log = (self.logs / f"{child.name}.log").open("ab")
        self._log_files.append(log)
        child.process = subprocess.Popen(
            child.command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=() if self._claim is None else (self._claim.descriptor,),
            start_new_session=True,  # Ctrl-C reaches only this process, which stops the children in order
        )
        child.started_at = time.monotonic()
        self._watchdog.watch(child.process.pid)
        self._publish()

    def _end(self, child: Child) -> None:
        process = child.process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._watchdog.forget(process.pid)

    def _publish(self) -> None:
        if self._claim is not None:
            children = {child.name: child.process.pid for child in self._children if child.process is not None}
            self._claim.publish(address=self.address, children={"watchdog": self._watchdog.pid, **children})

    def _wait_until(self, ready: Callable[[], bool], what: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            newest = self._children[-1]
            if time.monotonic() > deadline or (newest.process and newest.process.poll() is not None):
                raise CannotStart(f"{what[0].upper()}{what[1:]} did not start; look for the cause in {self.logs}.")
            self.keep_alive()
            time.sleep(0.05)

    def _web_answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return b"200" in connection.recv(64)
        except OSError:
            return False


def free_port(host: str, first: int) -> int:
    """Return the first free port from `first` on."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise CannotStart(
        f"The ports {first} to {first + 99} are all in use; free one of them, or choose another with --port."
    )


def _web_command(host: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "portal.wsgi", "--bind", f"{host}:{port}"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", "8", "--access-logfile", "/dev/null"),
        "--no-control-socket",  # it would be in the home folder, shared by all installations
    ]


def names_of_run_workers() -> list[str]:
    """Each works on one run, or one range of a run, at a time."""
    return ["runs", *(f"runs-{number}" for number in range(2, settings.RUN_WORKERS + 1))]


def _worker_command(queue: str, *more: str, at_once: int = 1, hostname: str = "") -> list[str]:
    """A worker that executes one task at a time, since runs do not share the processor or the GPU well. Imports have
    their own worker, a few at once, and need not wait for a run; the search for lost runs and imports has one, and
    waits for neither.
    Tasks run in a thread, so that the supervisor of a run notices that the worker is being stopped; the work itself is
    done in child processes."""
    return [
        *(sys.executable, "-m", "celery", "-A", "portal", "worker", "--hostname", f"{hostname or queue}@%h"),
        *("--queues", queue),
        *("--pool", "threads", "--concurrency", str(at_once), *more),
        *("--loglevel", "INFO", "--without-mingle", "--without-gossip"),
    ]


def _schedule() -> str:
    """The schedule file of Celery beat, for a single process."""
    schedule = settings.CELERY_BEAT_SCHEDULE_FILENAME
    Path(schedule).parent.mkdir(parents=True, exist_ok=True)
    return str(schedule)
