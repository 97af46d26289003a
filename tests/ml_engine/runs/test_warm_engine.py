"""The warm engine as a child of a worker: killed, hung and busy, with the real engine; and scoring runs in it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_engine.core import files
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import DetectorModel, Run, RunState
from ml_engine.runs import nearest_normals, requests, supervisor, warm_engine
from ml_engine.runs.nearest_normals import CannotExplain
from ml_engine.runs.paths import run_folder
from ml_engine.runs.requests import RunRequest
from ml_engine.runs.warm_engine import EngineBusy, EngineGone, EngineHung, WarmEngine
from tests.ml_engine import made

NONSENSE = {"do": "explain", "model": "none", "film": "none"}  # refused at once
SENTENCE = "none holds no detector.safetensors"


@pytest.fixture
def engine(data_dir: Path) -> Iterator[WarmEngine]:
    engine = WarmEngine()
    yield engine
    engine.end()


def process_of(engine: WarmEngine) -> Any:
    assert engine._process is not None
    return engine._process


def ask(engine: WarmEngine) -> str:
    return str(engine.ask(NONSENSE, seconds=60, wait_seconds=1)["sentence"])


def test_it_is_kept_and_started_again_when_killed(engine: WarmEngine) -> None:
    assert SENTENCE in ask(engine)
    first = process_of(engine).pid
    assert SENTENCE in ask(engine)
    assert process_of(engine).pid == first
    os.kill(first, signal.SIGKILL)
    process_of(engine).wait()
    assert SENTENCE in ask(engine)
    assert process_of(engine).pid != first


def test_one_that_is_killed_while_it_works_is_asked_again(engine: WarmEngine) -> None:
    ask(engine)
    first = process_of(engine).pid
    os.kill(first, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (first, signal.SIGKILL)).start()
    assert SENTENCE in ask(engine)
    assert process_of(engine).pid != first


def test_one_that_hangs_is_killed_after_the_limit(engine: WarmEngine) -> None:
    ask(engine)
    hung = process_of(engine)
    os.kill(hung.pid, signal.SIGSTOP)
    with pytest.raises(EngineHung):
        engine.ask(NONSENSE, seconds=0.2, wait_seconds=1)
    assert hung.poll() == -signal.SIGKILL
    assert SENTENCE in ask(engine)


def test_a_second_request_waits_its_turn_only_so_long(engine: WarmEngine) -> None:
    with engine.reserved(), pytest.raises(EngineBusy):
        engine.ask(NONSENSE, seconds=60, wait_seconds=0.05)


def test_one_that_cannot_start_is_tried_twice(engine: WarmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_engine.sys, "executable", "/bin/false")
    with pytest.raises(EngineGone, match="ended with status 1"):
        engine.ask(NONSENSE, seconds=60, wait_seconds=1)


def test_one_that_may_be_ending_is_replaced(engine: WarmEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(engine)
    first = process_of(engine).pid
    monkeypatch.setattr(warm_engine, "REUSED_WITHIN", 0.0)
    ask(engine)
    assert process_of(engine).pid != first


def test_another_data_folder_gets_another_engine(engine: WarmEngine, settings: Any, tmp_path: Path) -> None:
    ask(engine)
    first = process_of(engine).pid
    settings.DATA_DIR = tmp_path / "other"
    ask(engine)
    assert process_of(engine).pid != first
    assert (tmp_path / "other" / "logs" / "warm-engine.log").exists()


def test_a_long_log_is_begun_anew(engine: WarmEngine, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = data_dir / "logs" / "warm-engine.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("old")
    ask(engine)
    engine.end()
    assert log.read_text().startswith("old")
    monkeypatch.setattr(warm_engine, "LOG_BYTES", 2)
    ask(engine)
    assert "old" not in log.read_text()


# what the portal asks of it


@pytest.fixture
def detector(data_dir: Path, transactional_db: None) -> DetectorModel:
    split = made.small_split(made.site())
    fit = requests.request_detector(RunRequest(site=split.site, name="D"), split=split, config=made.small_config())
    supervisor.execute(fit.uuid)
    return DetectorModel.objects.get()


def scoring(detector: DetectorModel) -> Run:
    return requests.request_score(
        RunRequest(site=detector.split.site, name="S"), detector=detector, parts=["test", "tune"]
    )


def test_few_films_are_scored_by_the_warm_engine_with_the_same_bytes(
    detector: DetectorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm, again, cold = (scoring(detector) for _ in range(3))
    supervisor.execute(warm.uuid)
    engine = warm_engine.warm_engine
    first = process_of(engine).pid
    supervisor.execute(again.uuid)
    assert process_of(engine).pid == first
    monkeypatch.setattr(supervisor, "WARM_FILMS", 2)
    supervisor.execute(cold.uuid)
    assert not engine.is_running()  # its memory is given up for the run
    for run in (warm, again, cold):
        run.refresh_from_db()
        assert (run.state, run.device) == (RunState.DONE, "cpu"), run.message
    folders = [run_folder(run.uuid) for run in (warm, again, cold)]
    for name in ("scores.csv", "maps.npy", "affines.npy", "sweep.npy", "p_values.npy"):
        assert len({files.sha256_of(folder / name) for folder in folders}) == 1, name


def test_a_cancelled_run_kills_the_warm_engine(detector: DetectorModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run, engine = scoring(detector), warm_engine.warm_engine

    def cancelled(self: Any, *, at_once: bool = False) -> None:
        if engine.is_running():
            raise supervisor.Cancelled

    monkeypatch.setattr(supervisor.Pulse, "tick", cancelled)
    monkeypatch.setattr(supervisor, "_wait_for_folder", lambda folder, pulse: None)
    engine.end()
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    assert not engine.is_running()
    with engine.reserved():  # and it is free
        pass


def test_an_engine_that_is_killed_is_a_loss_of_its_run(
    detector: DetectorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, engine = scoring(detector), warm_engine.warm_engine
    begin = WarmEngine.begin

    def begin_and_kill(self: WarmEngine, request: Any) -> tuple[int, int]:
        started = begin(self, request)
        os.kill(started[1], signal.SIGKILL)
        return started

    monkeypatch.setattr(WarmEngine, "begin", begin_and_kill)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.losses) == (RunState.QUEUED, 1)
    assert run.detail == "The engine of attempt 1 ended by SIGKILL."
    assert not engine.is_running()


def test_the_hottest_patch_and_its_neighbours_come_from_the_warm_engine(
    detector: DetectorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scoring(detector)
    supervisor.execute(run.uuid)
    score = run.scores.order_by("row").first()
    assert score is not None
    image = score.image.uuid
    explained = nearest_normals.nearest_normals(run=run, image_uuid=image, patch=None, neighbours=2)
    maps = ScoredFolder(run_folder(run.uuid)).array("maps")[score.row]
    assert explained["global_score"] == float(maps[0, explained["row"], explained["column"]])
    assert np.nanmax(maps[0]) >= explained["global_score"]

    monkeypatch.setattr(nearest_normals, "SECONDS", 0)
    with pytest.raises(CannotExplain, match=r"took longer than 0 seconds and was stopped"):
        nearest_normals.nearest_normals(run=run, image_uuid=image, patch=(3, 3), neighbours=2)
    monkeypatch.setattr(nearest_normals, "SECONDS", 60)
    monkeypatch.setattr(nearest_normals, "WAIT_SECONDS", 0.01)
    with warm_engine.warm_engine.reserved(), pytest.raises(CannotExplain, match="is under way"):
        nearest_normals.nearest_normals(run=run, image_uuid=image, patch=(3, 3), neighbours=2)
    monkeypatch.setattr(warm_engine.sys, "executable", "/bin/false")
    warm_engine.warm_engine.end()
    with pytest.raises(CannotExplain, match="ended twice during the search"):
        nearest_normals.nearest_normals(run=run, image_uuid=image, patch=(3, 3), neighbours=2)
