"""A run in ranges, with the real engine: the same bytes and rows as by one process, whoever is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from ml_engine.engine import shards
from ml_engine.engine.stages.runner import run_folder
from ml_engine.engine.study_plans import BankPlan
from ml_engine.models import DetectorModel, Run, RunState, Score
from ml_engine.runs import lifecycle, paths, requests, sharding, supervisor, write_folder
from ml_engine.runs.bank_requests import request_bank_study
from ml_engine.runs.ranges import children_of
from ml_engine.runs.requests import RunRequest
from portal.models import Split
from tests.ml_engine import films, made
from tests.ml_engine.runs.test_recovery import Workers, engines_of, wait_for, workers
from tests.paths import ROOT

pytestmark = [pytest.mark.django_db(transaction=True)]
__all__ = ["workers"]  # a fixture


@pytest.fixture
def detector(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> DetectorModel:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)
    split = made.small_split(made.site())
    fit = requests.request_detector(RunRequest(site=split.site, name="D"), split=split, config=made.small_config())
    supervisor.execute(fit.uuid)
    return DetectorModel.objects.get()


def scoring(detector: DetectorModel) -> Run:
    """Six films."""
    return requests.request_score(
        RunRequest(site=detector.split.site, name="S"), detector=detector, parts=["test", "tune"]
    )


def bytes_of(run: Run) -> dict[str, bytes]:
    return {name: data for name, data in films.result_bytes(paths.run_folder(run.uuid)).items() if name != "stderr.txt"}


def rows_of(run: Run) -> list[Any]:
    return list(Score.objects.filter(run=run).order_by("row").values_list("image", "row", "fused_score", "percentile"))


def test_ranges_leave_the_bytes_and_rows_of_one_run(detector: DetectorModel, settings: Any) -> None:
    whole = scoring(detector)
    settings.SHARD_FILMS = 2
    run = scoring(detector)
    supervisor.execute(whole.uuid)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.waits_for_children
    children = list(children_of(run))
    assert [(child.first_row, child.end_row) for child in children] == [(0, 2), (2, 4), (4, 6)]
    supervisor.execute(run.uuid)  # delivered again while they work: nothing to do
    for child in reversed(children):
        supervisor.execute(child.uuid)
        supervisor.execute(child.uuid)  # a second delivery
    assert not Score.objects.filter(run__in=children).exists()
    supervisor.execute(run.uuid)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.attempt) == (RunState.DONE, 2), run.message
    assert {child.attempt for child in children_of(run)} == {1}
    merged, expected = bytes_of(run), bytes_of(whole)
    assert sorted(merged) == sorted(expected)
    assert [name for name in expected if merged[name] != expected[name]] == []
    assert rows_of(run) == rows_of(whole)
    assert len(rows_of(run)) == 6
    assert not (paths.run_folder(run.uuid) / shards.FOLDER).exists()


def test_a_range_of_another_version_is_not_merged(
    detector: DetectorModel, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SHARD_FILMS = 3
    run = scoring(detector)
    supervisor.execute(run.uuid)
    first, second = children_of(run)
    supervisor.execute(first.uuid)
    with monkeypatch.context() as patch:
        patch.setattr(sharding, "code_version", lambda: "older")
        supervisor.execute(second.uuid)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "Films 4 to 6 are of another run than those before, or scored by another version" in run.message
    lifecycle.retry(run=run, actor=None)
    assert [child.state for child in children_of(run)] == [RunState.DONE, RunState.QUEUED]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_in_a_range_and_at_the_merge_it_ends_once_with_the_same_bytes(
    workers: Workers, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real workers: one is killed with its engine in the second of three ranges, and one at the merge."""
    split = made.small_split(made.site())
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "publish", lambda run: True)
        fit = requests.request_detector(RunRequest(site=split.site, name="D"), split=split, config=made.small_config())
        supervisor.execute(fit.uuid)
        whole = scoring(DetectorModel.objects.get())
        supervisor.execute(whole.uuid)
    settings.SHARD_FILMS = 2
    run = scoring(DetectorModel.objects.get())
    folder = paths.run_folder(run.uuid)
    second = shards.folder_of(folder, 2, 4)
    second.mkdir(parents=True)
    (second / "pause").write_text("maps 0")
    (folder / "pause").write_text("merge 0")
    workers.start()
    for killed_in in (second, folder):
        (engine,) = wait_for(lambda place=killed_in: engines_of(place, state="T"), run=run)
        for child in children_of(run):
            lifecycle.publish(child)  # delivered again, whatever its state
        (killed_in / "pause").unlink()
        workers.kill()
        os.kill(engine, signal.SIGKILL)
        workers.start()
    wait_for(lambda: Run.objects.get(pk=run.pk).state == RunState.DONE, run=run)
    assert [child.attempt for child in children_of(run)] == [1, 2, 1]
    assert Run.objects.get(pk=run.pk).attempt == 3
    merged, expected = bytes_of(run), bytes_of(whole)
    assert [name for name in expected if merged[name] != expected[name]] == []
    assert rows_of(run) == rows_of(whole)


def studying() -> Run:
    """Three banks."""
    split = Split.objects.get()
    planned = BankPlan(shares=(0.5,), repeats=1, contaminations=(0.0, 0.2))
    return request_bank_study(
        RunRequest(site=split.site, name="B"), split=split, config=made.small_config(), planned=planned
    )


@pytest.fixture
def split(data_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Split:
    """Two workers are there, and groups have at most two cells."""
    settings.SHARD_CELLS = 2
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)
    monkeypatch.setattr(sharding, "queues_served", lambda: Counter(gpu=2))
    return made.small_split(made.site())


def test_a_study_that_one_worker_carries_out_is_not_divided(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    run = studying()
    folder = write_folder.write_folder(run, tick=lambda: None)
    assert sharding.ranges_of(run, folder) == [(0, 1), (1, 3)]
    monkeypatch.setattr(sharding, "queues_served", lambda: Counter(gpu=1, cpu=4))
    assert sharding.ranges_of(run, folder) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_whose_engine_is_killed_in_a_cell_ends_with_the_bytes_of_one_run(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests" / "ml_engine" / "pausing"), str(ROOT)]))
    whole, run = studying(), studying()
    assert run_folder(write_folder.write_folder(whole, tick=lambda: None), device="cpu").has_results
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.waits_for_children, run.stage_count, run.total) == (True, 2, 3)
    folder = paths.run_folder(run.uuid)
    assert (folder / "stages" / "features.json").is_file()  # once, for all
    second = shards.folder_of(folder, 1, 3)
    second.mkdir(parents=True)
    (second / "pause").write_text("bank-abnormal-020000-0 0")
    first_child, second_child = children_of(run)
    killer = threading.Thread(target=kill_when_paused, args=(second, run))
    killer.start()
    supervisor.execute(second_child.uuid)
    killer.join()
    supervisor.execute(first_child.uuid)
    second_child.refresh_from_db()
    assert (second_child.state, second_child.losses) == (RunState.QUEUED, 1)
    for one in (second_child, run):
        supervisor.execute(one.uuid)
        supervisor.execute(one.uuid)  # a second delivery
    run.refresh_from_db()
    assert (run.state, run.attempt) == (RunState.DONE, 2), run.message
    assert [child.attempt for child in children_of(run)] == [1, 2]
    merged, expected = bytes_of(run), bytes_of(whole)
    assert sorted(merged) == sorted(expected)
    assert [name for name in expected if merged[name] != expected[name]] == []


def kill_when_paused(folder: Path, run: Run) -> None:
    try:
        (engine,) = wait_for(lambda: engines_of(folder, state="T"), run=run)
        (folder / "pause").unlink()
        os.kill(engine, signal.SIGKILL)
    finally:
        connection.close()
