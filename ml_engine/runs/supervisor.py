"""Rows -> folder -> process -> rows: what a worker does with a run that it was handed.

The supervisor beats even when the engine is silent, stops it when the run is cancelled or the lease is lost, and
stores the results in one transaction. Running it twice, or by two workers at once, is harmless.
"""

import fcntl
import logging
import os
import platform
import signal
import socket
import time
import traceback
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from celery.worker import state as worker_state
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from ml_engine.core.errors import EngineError
from ml_engine.core.version import code_version
from ml_engine.engine.outcome import ExitStatus
from ml_engine.models import Run
from ml_engine.runs import lifecycle, paths, write_folder
from ml_engine.runs.engine_process import Engine
from ml_engine.runs.lifecycle import Instruction, Lease, LostLease, Progress, RunRefused
from ml_engine.runs.store_results import store_results

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # how often a cancel is looked for
FOLDER_BUSY_SECONDS = 120.0  # how long an engine of an earlier attempt may take to end


class Cancelled(Exception):
    """A person cancelled the run."""


class WorkerStopping(Exception):
    """The worker was asked to end: the run goes back to the queue."""


class EngineKilled(Exception):
    """The engine ended without a word, most often killed for memory."""


class Failed(Exception):
    """The engine gave up with a sentence for the user, or broke."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message, self.detail = message, detail


def execute(run_uuid: uuid.UUID) -> None:
    """Work on the run until it has ended or somebody else is responsible for it."""
    owner = f"{socket.gethostname()[:24]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
    lease = lifecycle.claim(run_uuid=run_uuid, owner=owner)
    if lease is None:
        logger.info("run %s: nothing to do", run_uuid)
        return
    logger.info("run %s: attempt %s", run_uuid, lease.attempt)
    try:
        _work(lease)
    except LostLease:
        logger.warning("run %s: lease of attempt %s lost, stopped", run_uuid, lease.attempt)
    except Cancelled:
        lifecycle.end_cancelled(lease=lease)
    except WorkerStopping:
        lifecycle.hand_back(lease=lease)
    except EngineKilled as killed:
        lifecycle.lose(lease=lease, reason=str(killed))
    except Failed as failure:
        lifecycle.fail(lease=lease, message=failure.message, detail=failure.detail)
    except (RunRefused, EngineError) as refusal:
        lifecycle.fail(lease=lease, message=str(refusal))
    except (OperationalError, InterfaceError):  # the lease lapses, and the run goes on where its folder stands
        logger.exception("run %s: the database is away, attempt %s given up", run_uuid, lease.attempt)
        connection.close()
    except Exception:
        logger.exception("run %s: internal error", run_uuid)
        lifecycle.fail(lease=lease, message=internal_error(run_uuid), detail=traceback.format_exc()[-8000:])


def internal_error(run_uuid: uuid.UUID) -> str:
    return (
        f"Internal error, reference {run_uuid}. Retry once; if it happens again, give the reference to the person who "
        "looks after Hilum: the run's log says more."
    )


def _work(lease: Lease) -> None:
    pulse = Pulse(lease)
    run = Run.objects.select_related(
        "split", "rescores", "alignment__run", "detector__run", "detector__alignment__run"
    ).get(pk=lease.run_id)
    lifecycle.note_versions(lease=lease, versions=versions())
    folder = write_folder.write_folder(run, tick=pulse.tick)
    _wait_for_folder(folder, pulse)
    asked = run.config.get("device", "auto")  # a run that asks for a device gets it, else the installation decides
    unreadable = _run_engine(folder, lease, pulse, device=settings.RUN_DEVICE if asked == "auto" else asked)
    with lifecycle.finishing(lease=lease, unreadable=unreadable) as locked:
        store_results(locked, folder)


def versions() -> dict[str, str]:
    return {"hilum": code_version(), "python": platform.python_version(), "torch": metadata.version("torch")}


class Pulse:
    """Beats when it is time, and raises when the work must stop. A database that is away for less than the lease
    is waited for; after that another worker may hold the run, so this one stops."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._news: Progress | None = None
        self._looked = self._beat = time.monotonic()

    def tell(self, progress: Progress) -> None:
        self._news = progress

    def tick(self) -> None:
        """Raises Cancelled, WorkerStopping or LostLease."""
        if worker_state.should_stop is not None or worker_state.should_terminate is not None:
            raise WorkerStopping
        now = time.monotonic()
        if now - self._looked < min(LOOK_SECONDS, settings.RUN_HEARTBEAT_SECONDS):
            return
        self._looked = now
        try:
            order = self._ask(now)
        except (OperationalError, InterfaceError):
            connection.close()
            if now - self._beat > settings.RUN_LEASE_SECONDS:
                raise LostLease from None
            return
        if order is Instruction.CANCEL:
            raise Cancelled
        if order is Instruction.STOP:
            raise LostLease

    def _ask(self, now: float) -> Instruction:
        if self._news is None and now - self._beat < settings.RUN_HEARTBEAT_SECONDS:
            return lifecycle.order(lease=self._lease)
        order = lifecycle.beat(lease=self._lease, progress=self._news)
        self._news, self._beat = None, now
        return order


def _wait_for_folder(folder: Path, pulse: Pulse) -> None:
    """An engine whose worker was killed needs a moment to notice; meanwhile it holds the folder's lock."""
    give_up = time.monotonic() + FOLDER_BUSY_SECONDS
    while not _is_free(folder):
        pulse.tick()
        if time.monotonic() > give_up:
            raise Failed(
                "Another process still works in this run's folder. End what was started there by hand, then retry."
            )
        time.sleep(0.1)


def _is_free(folder: Path) -> bool:
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _run_engine(folder: Path, lease: Lease, pulse: Pulse, *, device: str) -> int:
    """How many films the engine could not read. Raises what stops the work."""
    engine = Engine(folder, attempt=lease.attempt, device=device)
    last_word: dict[str, Any] = {}
    seconds = min(LOOK_SECONDS, settings.RUN_HEARTBEAT_SECONDS) / 2
    try:
        over = False
        while not over:
            said, over = engine.events(seconds=seconds)
            for event in said:
                if event.get("event") == "started":
                    lifecycle.note_device(lease=lease, device=str(event.get("device") or ""))
                elif "event" in event:
                    last_word = event
                else:
                    pulse.tell(_progress(event))
            pulse.tick()
        while (status := engine.wait(seconds=seconds)) is None:
            pulse.tick()
    finally:
        engine.stop()
    return _judge(status, last_word, folder, lease)


def _progress(event: dict[str, Any]) -> Progress:
    return Progress(
        stage=str(event.get("stage") or "")[:40],
        stage_index=int(event.get("stage_index") or 0),
        stage_count=int(event.get("stage_count") or 0),
        done=int(event.get("done") or 0),
        total=int(event.get("total") or 0),
        seconds_left=event.get("seconds_left"),
        memory_mib=event.get("memory_mib"),
    )


def _judge(status: int, last_word: dict[str, Any], folder: Path, lease: Lease) -> int:
    if status in (ExitStatus.DONE, ExitStatus.UNREADABLE):
        return int(last_word.get("unreadable") or 0)
    detail = paths.tail(folder / "log.txt", lines=60) + "\n" + paths.tail(folder / "stderr.txt", lines=40)
    if status == ExitStatus.REFUSED:
        raise Failed(str(last_word.get("sentence") or internal_error(lease.run_uuid)), detail)
    if status < 0:
        raise EngineKilled(f"The engine of attempt {lease.attempt} ended by {signal.Signals(-status).name}.")
    raise Failed(internal_error(lease.run_uuid), f"Exit status {status}.\n{detail}")
