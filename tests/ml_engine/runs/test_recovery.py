"""kill -9 of the worker, the engine or both, in each kind of run: the run ends with the same bytes.

A real Celery worker on a real broker works on a chain of an alignment, a detector and scores. The engine is
paused in a stage (tests/ml_engine/pausing), a process is killed, and the run must be queued again and continue.
HILUM_TEST_RECOVERY=full kills each victim in each stage; otherwise each victim is killed once in each kind of run, at
its beginning, in its longest stage and at its end. test_run_folder kills the engine alone in every stage.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from ml_engine.models import DetectorModel, Run, RunKind, RunState, Score
from ml_engine.runs import lifecycle, paths, requests, supervisor
from ml_engine.runs.requests import RunRequest
from tests.ml_engine import films, made
from tests.paths import ROOT

STAGES = {  # where the engine is paused: the stage, and how much of it is done
    RunKind.FIT_ALIGNMENT: ["films 3", "network 1", "align 0", "measure 0", "results 0"],
    RunKind.FIT_DETECTOR: [
        "films 3", "align 0", "mask 0", "features 1", "banks 1", "calibrate 0", "tune 0", "results 0",
    ],
    RunKind.SCORE: ["films 3", "align 0", "maps 0", "results 0"],
}  # fmt: skip
RESULTS = {
    RunKind.FIT_ALIGNMENT: ["alignment.safetensors", "alignment.json", "affines.npy"],
    RunKind.FIT_DETECTOR: ["detector.safetensors", "detector.json", "mask.npy"],
    RunKind.SCORE: ["scores.csv", "maps.npy", "affines.npy", "sweep.npy", "p_values.npy", "trivial.npy", "score.json"],
}
WORKER_OPTIONS = ["-P", "threads", "-Q", "gpu,cpu", "-c", "1"]
VICTIMS = ["worker", "engine", "both"]
FULL = os.environ.get("HILUM_TEST_RECOVERY") == "full"
LONGEST = {RunKind.FIT_ALIGNMENT: "network 1", RunKind.FIT_DETECTOR: "banks 1", RunKind.SCORE: "maps 0"}


def pause_points(kind: RunKind) -> list[str]:
    stages = STAGES[kind]
    return stages if FULL else [stages[0], LONGEST[kind], stages[-1]]


class Workers:
    """One Celery worker at a time, as in production; `start` replaces a killed one."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "portal", "worker", *WORKER_OPTIONS]
        log = (Path(self.environment["HILUM_DATA_DIR"]) / "worker.log").open("ab")
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        log.close()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def workers(
    process_environment: dict[str, str], data_dir: Path, broker: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workers]:
    settings.RUN_LEASE_SECONDS, settings.RUN_HEARTBEAT_SECONDS = 2, 2 / 6
    sender = Celery("tests", broker=broker, set_as_current=False)
    sender.conf.task_routes = settings.CELERY_TASK_ROUTES
    monkeypatch.setattr(lifecycle, "current_app", sender)
    workers = Workers(
        process_environment
        | {
            "HILUM_DATA_DIR": str(data_dir),
            "HILUM_BROKER_URL": broker,
            "HILUM_RUN_LEASE_SECONDS": "2",
            "HILUM_CODE_VERSION": "test",
            "HILUM_DEVICE": "cpu",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "ml_engine" / "pausing"), str(ROOT)]),
        }
    )
    with films.fixed_code_version():
        yield workers
    workers.kill()
    sender.close()


def engines_of(folder: Path, *, state: str = "") -> list[int]:
    """The process ids of the engines in the folder; with `state` only those in this state of /proc, such as T."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            process_state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if works_in(folder, command, entry) and (not state or process_state == state):
            pids.append(int(entry.name))
    return pids


def works_in(folder: Path, command: list[bytes], process: Path) -> bool:
    """Whether a process is an engine of this folder: started for it, or a warm one that holds its lock."""
    if str(folder).encode() in command:
        return True
    if command[1:4] != [b"-m", b"ml_engine", b"serve"]:
        return False
    try:
        return any(os.readlink(file) == str(folder / "lock") for file in (process / "fd").iterdir())
    except OSError:  # it has ended, or closed a file meanwhile
        return False


def wait_for(condition: Any, *, run: Run, seconds: float = 90) -> Any:
    """The first true value of `condition()`. Meanwhile the reaper runs, as by the beat."""
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        run.refresh_from_db()
        assert run.state not in (RunState.FAILED, RunState.CANCELLED), f"{run.message}\n{run.detail}"
        assert time.monotonic() < give_up, f"run {run.kind} is {run.state} in stage {run.stage or 'none'}"
        lifecycle.reap()
        time.sleep(0.05)
    return value


def kill(victim: str, engine: int, workers: Workers) -> None:
    if victim in ("worker", "both"):
        workers.kill()
    os.kill(engine, signal.SIGCONT if victim == "worker" else signal.SIGKILL)
    if victim in ("worker", "both"):
        workers.start()


def kill_in_stages(run: Run, workers: Workers, *, turn: int) -> int:
    """Returns how often something was killed."""
    stages = pause_points(RunKind(run.kind))
    folder = paths.run_folder(run.uuid)
    folder.mkdir(parents=True, exist_ok=True)
    for number, pause in enumerate(stages):
        (folder / "pause").write_text(pause)
        (engine,) = wait_for(lambda: engines_of(folder, state="T"), run=run)
        Run.objects.filter(pk=run.pk).update(losses=0)  # the third in a row would be the last
        (folder / "pause").unlink()
        kill(VICTIMS[(number + turn) % 3], engine, workers)
        # an orphan that still runs could be mistaken for its successor at the next pause
        wait_for(lambda engine=engine: engine not in engines_of(folder), run=run)
    return len(stages)


def request_runs(split: Any, name: str) -> list[Run]:
    request = RunRequest(site=split.site, name=name)
    chain = requests.request_chain(
        request, split=split, config=made.small_config(), aligned=True, parts=["tune", "test"]
    )
    assert chain.alignment is not None
    return [chain.alignment, chain.detector, chain.score]


def result_bytes(run: Run) -> dict[str, bytes]:
    folder = paths.run_folder(run.uuid)
    return {name: (folder / name).read_bytes() for name in RESULTS[RunKind(run.kind)]}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", (0, 1, 2) if FULL else (0,))
def test_a_run_killed_in_its_stages_ends_with_the_same_bytes(workers: Workers, turn: int) -> None:
    split = made.small_split(made.site())
    workers.start()
    for run in (broken := request_runs(split, "Broken")):
        lifecycle.publish(run)  # a second delivery, which must do nothing
        kills = kill_in_stages(run, workers, turn=turn)
        wait_for(lambda run=run: Run.objects.get(pk=run.pk).state == RunState.DONE, run=run)
        assert Run.objects.get(pk=run.pk).attempt == kills + 1
    workers.kill()
    for run, whole in zip(broken, request_runs(split, "Whole"), strict=True):
        supervisor.execute(whole.uuid)
        assert result_bytes(run) == result_bytes(whole)
    assert DetectorModel.objects.values("sha256").distinct().count() == 1
    scores = [Score.objects.filter(run__name=f"{name}: scores").order_by("row") for name in ("Broken", "Whole")]
    assert len(scores[0]) == 6
    assert [score.fused_score for score in scores[0]] == [score.fused_score for score in scores[1]]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_stopped_hands_its_run_back(workers: Workers) -> None:
    """A deployment stops workers with SIGTERM. This does not count as a loss, of which the third fails a run."""
    alignment, detector, _ = request_runs(made.small_split(made.site()), "Deployed")
    lifecycle.cancel(run=detector, actor=None)  # the alignment alone is enough here
    folder = paths.run_folder(alignment.uuid)
    folder.mkdir(parents=True)
    (folder / "pause").write_text("network 1")
    workers.start()
    lifecycle.publish(alignment)
    (engine,) = wait_for(lambda: engines_of(folder, state="T"), run=alignment)
    (folder / "pause").unlink()

    assert workers.process is not None
    workers.process.terminate()
    os.kill(engine, signal.SIGCONT)  # a process that is stopped cannot end
    workers.process.wait(30)

    alignment.refresh_from_db()
    assert (alignment.state, alignment.losses, alignment.attempt) == (RunState.QUEUED, 0, 1)
    workers.start()
    wait_for(lambda: Run.objects.get(pk=alignment.pk).state == RunState.DONE, run=alignment)
    assert Run.objects.get(pk=alignment.pk).attempt == 2
