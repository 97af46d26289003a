"""Rows -> run folder -> engine process -> rows: what a worker does with a run that it received.

The supervisor sends heartbeats even while the engine reports nothing, stops the engine when the run is cancelled or
the lease is lost, and stores the results in one transaction. Running it twice, or in two workers at once, is safe.
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
from ml_engine.core.files import disk_problem
from ml_engine.core.version import code_version
from ml_engine.engine import manifest
from ml_engine.engine.outcome import ExitStatus
from ml_engine.models import Run, RunKind
from ml_engine.runs import lifecycle, paths, ranges, run_bucket, sharding, write_folder
from ml_engine.runs.capacity import gpu_of_process
from ml_engine.runs.engine_process import Engine, Task
from ml_engine.runs.lifecycle import Instruction, Lease, LostLease, Progress, RunRefused
from ml_engine.runs.run_bucket import KeptFile
from ml_engine.runs.store_results import store_results
from ml_engine.runs.warm_engine import EngineGone, ServedRun, warm_engine
from portal.intake.bucket_objects import BucketAway

logger = logging.getLogger(__name__)

CANCEL_CHECK_SECONDS = 1.0  # between two checks for a cancel
WARM_FILMS = 32  # with more, starting the engine hardly counts
BUCKET_PAUSE_SECONDS = 5.0  # until a bucket that did not answer is asked again
FOLDER_BUSY_SECONDS = 120.0  # how long an engine of an earlier attempt may take to end


class Cancelled(Exception):
    """A person cancelled the run."""


class WorkerStopping(Exception):
    """The worker is being stopped: the run goes back to the queue."""


class EngineKilled(Exception):
    """The engine ended by a signal, most often killed for memory."""


class Failed(Exception):
    """The engine refused the run with a sentence for the user, or ended with an internal error."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message, self.detail = message, detail


def execute(run_uuid: uuid.UUID) -> None:
    """Work on the run until it has ended or another worker holds it."""
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
        _keep_what_is_left(lease)
        lifecycle.end_cancelled(lease=lease)
    except WorkerStopping:
        lifecycle.hand_back(lease=lease)
    except EngineKilled as killed:
        _keep_what_is_left(lease)
        lifecycle.lose(lease=lease, reason=str(killed))
    except Failed as failure:
        _keep_what_is_left(lease)
        lifecycle.fail(lease=lease, message=failure.message, detail=failure.detail)
    except (RunRefused, EngineError) as refusal:
        _keep_what_is_left(lease)
        lifecycle.fail(lease=lease, message=str(refusal))
    except BucketAway as away:
        lifecycle.fail(lease=lease, message=f"{away} Retry once it answers; ask your administrator if it stays so.")
    except (OperationalError, InterfaceError):  # the lease lapses, and another attempt continues the folder
        logger.exception("run %s: no database connection, attempt %s abandoned", run_uuid, lease.attempt)
        connection.close()
    except Exception as problem:
        logger.exception("run %s: it failed in the worker", run_uuid)
        sentence = disk_problem(problem) or internal_error(run_uuid)
        _keep_what_is_left(lease)
        lifecycle.fail(lease=lease, message=sentence, detail=traceback.format_exc()[-8000:])


def internal_error(run_uuid: uuid.UUID) -> str:
    return (
        f"Internal error, reference {run_uuid}. Retry once; if it happens again, give the reference to your "
        "administrator: the run's log has the details."
    )


def _work(lease: Lease) -> None:
    pulse = Pulse(lease)
    run = Run.with_children.select_related(
        "split", "rescores", "alignment__run", "detector__run", "detector__alignment__run", "head__run", "parent"
    ).get(pk=lease.run_id)
    lifecycle.note_versions(lease=lease, versions=versions())
    if run.is_child:
        folder = sharding.write_child_folder(run, tick=pulse.tick)
    else:
        folder = write_folder.write_folder(run, tick=pulse.tick)
    children = list(ranges.children_of(run).select_related("parent"))
    has_children = bool(children)
    is_whole = run.is_child or has_children or ranges.is_merged(run)
    if parts := [] if is_whole else sharding.ranges_of(run, folder):
        _divide(run, folder, lease, pulse, parts)
        return
    _wait_for_folder(folder, pulse)
    if has_children and not ranges.is_merged(run):
        for child in children:
            run_bucket.here(child, beat=pulse.tick)
    task = Task.MERGE if has_children else Task.RUN
    unreadable = _run_engine(_start_engine(run, folder, lease, task), folder, lease, pulse)
    kept = _keep(run, folder, lease, pulse)
    with lifecycle.finishing(lease=lease, unreadable=unreadable) as locked:
        if not locked.is_child:
            store_results(locked, folder)
        run_bucket.record(locked, kept)
        run_bucket.forget_ranges(locked)
    run_bucket.tidy(run)


def versions() -> dict[str, str]:
    return {"hilum": code_version(), "python": platform.python_version(), "torch": metadata.version("torch")}


class Pulse:
    """Sends heartbeats when they are due, and raises when the work must stop. It tolerates a database that is
    unavailable for less than the lease; after that another worker may hold the run, so this one stops."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._progress: Progress | None = None  # not stored yet
        self._checked_at = self._beat_at = time.monotonic()

    def report(self, progress: Progress) -> None:
        self._progress = progress

    def tick(self, *, at_once: bool = False) -> None:
        """`at_once` stores the progress although it is not due, so that a short run has any. Raises Cancelled,
        WorkerStopping or LostLease."""
        if worker_state.should_stop is not None or worker_state.should_terminate is not None:
            raise WorkerStopping
        now = time.monotonic()
        if not at_once and now - self._checked_at < min(CANCEL_CHECK_SECONDS, settings.RUN_HEARTBEAT_SECONDS):
            return
        self._checked_at = now
        try:
            instruction = self._instruction(now)
        except (OperationalError, InterfaceError):
            connection.close()
            if now - self._beat_at > settings.RUN_LEASE_SECONDS:
                raise LostLease from None
            return
        if instruction is Instruction.CANCEL:
            raise Cancelled
        if instruction is Instruction.STOP:
            raise LostLease

    def _instruction(self, now: float) -> Instruction:
        if self._progress is None and now - self._beat_at < settings.RUN_HEARTBEAT_SECONDS:
            return lifecycle.instruction(lease=self._lease)
        instruction = lifecycle.beat(lease=self._lease, progress=self._progress)
        self._progress, self._beat_at = None, now
        return instruction


def _divide(run: Run, folder: Path, lease: Lease, pulse: Pulse, parts: list[tuple[int, int]]) -> None:
    """What all children start from is computed before there are any."""
    if sharding.has_shared_stages(run, folder):
        _wait_for_folder(folder, pulse)
        _run_engine(_start_engine(run, folder, lease, Task.RUN_SHARED), folder, lease, pulse)
    kept = _keep(run, folder, lease, pulse)
    with lifecycle.holding(lease=lease) as locked:
        run_bucket.record(locked, kept)
    sharding.divide(run, lease, parts, sharding.leaders_of(run, folder, parts))


def _keep(run: Run, folder: Path, lease: Lease, pulse: Pulse) -> list[KeptFile] | None:
    """Put what the engine has made where other machines find it. While the bucket is away the run waits here, where its
    results are, and its page says so; None where runs are not in the bucket."""
    if not run_bucket.is_used():
        return None
    while True:
        try:
            return run_bucket.keep(run, folder, beat=pulse.tick)
        except BucketAway as away:
            logger.warning("run %s: waiting for the bucket: %s", run.uuid, away)
            lifecycle.note(
                lease=lease,
                message=f"{away} What was computed is kept on the worker's machine; the run goes on by itself once the "
                "bucket answers.",
            )
        asked_again = time.monotonic() + BUCKET_PAUSE_SECONDS
        while time.monotonic() < asked_again:
            pulse.tick()
            time.sleep(0.1)


def _keep_what_is_left(lease: Lease) -> None:
    """Of a run that ends badly: its log, and what a retry on another machine starts from; of a divided one also what
    its ranges start from. If the bucket is away, they stay here."""
    folder = paths.run_folder(lease.run_uuid)
    if not run_bucket.is_used() or lease.parent_id is not None or not folder.is_dir():
        return

    def beat() -> None:
        lifecycle.beat(lease=lease)

    try:
        run = Run.objects.select_related("alignment", "detector__alignment", "head").get(pk=lease.run_id)
        if not run_bucket.is_current(run, folder):
            return
        names = None if ranges.children_of(run).exists() else run_bucket.NEEDED_AGAIN
        kept = run_bucket.keep(run, folder, beat=beat, names=names)
        with lifecycle.holding(lease=lease) as locked:
            run_bucket.record(locked, kept)
    except (BucketAway, LostLease, OSError, OperationalError, InterfaceError) as problem:
        logger.warning("run %s: its log stays on this machine: %s", run.uuid, problem)


def _wait_for_folder(folder: Path, pulse: Pulse) -> None:
    """An engine whose worker was killed holds the folder's lock until it notices."""
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


def _run_engine(engine: Engine | ServedRun, folder: Path, lease: Lease, pulse: Pulse) -> int:
    """Returns how many films the engine could not read. Raises Cancelled, WorkerStopping, LostLease, EngineKilled or
    Failed."""
    last_event: dict[str, Any] = {}
    seconds = min(CANCEL_CHECK_SECONDS, settings.RUN_HEARTBEAT_SECONDS) / 2
    try:
        ended = False
        while not ended:
            events, ended = engine.events(seconds=seconds)
            for event in events:
                if event.get("event") == "started":
                    lifecycle.note_device(lease=lease, device=str(event.get("device") or ""))
                elif "event" in event:
                    last_event = event
                else:
                    pulse.report(_progress(event))
            pulse.tick(at_once=ended)
        while (status := engine.wait(seconds=seconds)) is None:
            pulse.tick()
    finally:
        engine.stop()
    return _unreadable_films(status, last_event, folder, lease)


def _start_engine(run: Run, folder: Path, lease: Lease, task: Task) -> Engine | ServedRun:
    """The warm engine for a few films; otherwise a process of its own, for which the warm one gives up its memory."""
    chosen = run.config.get("device", "auto")  # the run's own choice comes before the installation's
    device = settings.RUN_DEVICE if chosen == "auto" else chosen
    if device != "cpu":
        gpu_of_process.take()
    images = paths.run_folder(run.parent.uuid) if run.parent else None
    is_short = run.kind == RunKind.SCORE and len(manifest.read(folder / "images.csv")) <= WARM_FILMS
    if is_short and task == Task.RUN:
        try:
            return ServedRun(warm_engine, folder, attempt=lease.attempt, device=device, images=images)
        except EngineGone as gone:
            logger.warning("run %s: %s", lease.run_uuid, gone)
    with warm_engine.reserved():
        warm_engine.end()
    threads = run.config.get("threads")
    return Engine(folder, attempt=lease.attempt, device=device, threads=threads, images=images, task=task)


def _progress(event: dict[str, Any]) -> Progress:
    return Progress(
        stage=str(event.get("stage") or "")[:40],
        stage_index=int(event.get("stage_index") or 0),
        stage_count=int(event.get("stage_count") or 0),
        done=int(event.get("done") or 0),
        total=int(event.get("total") or 0),
        seconds_left=event.get("seconds_left"),
        run_seconds_left=event.get("run_seconds_left"),
        memory_mib=event.get("memory_mib"),
    )


def _unreadable_films(status: int, last_event: dict[str, Any], folder: Path, lease: Lease) -> int:
    """Raises EngineKilled or Failed by the exit status."""
    if status in (ExitStatus.DONE, ExitStatus.UNREADABLE):
        return int(last_event.get("unreadable") or 0)
    detail = paths.tail(folder / "log.txt", lines=60) + "\n" + paths.tail(folder / "stderr.txt", lines=40)
    if status == ExitStatus.REFUSED:
        raise Failed(str(last_event.get("sentence") or internal_error(lease.run_uuid)), detail)
    if status < 0:
        raise EngineKilled(f"The engine of attempt {lease.attempt} ended by {signal.Signals(-status).name}.")
    raise Failed(internal_error(lease.run_uuid), f"Exit status {status}.\n{detail}")
