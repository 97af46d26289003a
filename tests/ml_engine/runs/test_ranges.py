"""The life of a run in ranges, step by step: rows only, without an engine."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db import connection
from django.utils import timezone

from ml_engine.core import files
from ml_engine.core.version import code_version
from ml_engine.engine import shards
from ml_engine.models import CHILDREN, Run, RunKind, RunState
from ml_engine.runs import lifecycle, paths, ranges, sharding, waiting
from ml_engine.runs.lifecycle import Lease, Progress
from ml_engine.runs.ranges import ChildProgress, children_of, seconds_left
from tests.ml_engine import made

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the runs that were sent to the queue; no broker is needed."""
    sent: list[str] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args, **_: sent.append(args[0]))
    return sent


def claimed(run: Run, owner: str = "me") -> Lease:
    lease = lifecycle.claim(run_uuid=run.uuid, owner=owner)
    assert lease is not None
    return lease


@pytest.fixture
def divided(data_dir: Path) -> Run:
    """A run of 30 films in three ranges, which wait for workers."""
    split = made.split(made.site())
    run = made.run(split, kind=RunKind.SCORE, detector=made.detector_model(split), most_a_child=10)
    paths.run_folder(run.uuid).mkdir(parents=True)
    sharding.divide(run, claimed(run), [(0, 10), (10, 20), (20, 30)])
    run.refresh_from_db()
    return run


def children(run: Run) -> list[Run]:
    return list(children_of(run))


def finish(child: Run) -> None:
    with lifecycle.finishing(lease=claimed(child)):
        pass


def state_of(run: Run) -> str:
    return str(Run.with_children.values_list("state", flat=True).get(pk=run.pk))


def test_a_divided_run_waits_in_the_queue_and_holds_no_worker(divided: Run) -> None:
    assert (divided.state, divided.stage, divided.lease_owner) == (RunState.QUEUED, CHILDREN, "")
    assert divided.waits_for_children
    assert [(child.first_row, child.end_row) for child in children(divided)] == [(0, 10), (10, 20), (20, 30)]
    assert lifecycle.claim(run_uuid=divided.uuid, owner="me") is None


def test_no_list_of_runs_has_the_children(divided: Run) -> None:
    scoring = Run.objects.filter(kind=RunKind.SCORE)
    assert list(scoring) == [divided]
    assert list(divided.site.runs.filter(kind=RunKind.SCORE)) == [divided]
    assert list(waiting.places()) == [child.pk for child in children(divided)]  # the parent waits for nothing else


def test_the_merge_is_published_once_all_children_are_done(
    divided: Run, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    first, second, third = children(divided)
    for child in (third, first):
        with django_capture_on_commit_callbacks(execute=True):
            finish(child)
    assert published == []
    with django_capture_on_commit_callbacks(execute=True):
        finish(second)
    assert published == [str(divided.uuid)]
    lease = claimed(divided)
    assert lifecycle.claim(run_uuid=divided.uuid, owner="a second delivery") is None
    with lifecycle.finishing(lease=lease):
        pass
    assert lifecycle.claim(run_uuid=divided.uuid, owner="a third") is None
    assert state_of(divided) == RunState.DONE


def test_a_merge_whose_worker_died_is_given_to_another(divided: Run) -> None:
    for child in children(divided):
        finish(child)
    lost = claimed(divided)
    Run.objects.filter(pk=divided.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    lifecycle.reap()
    again = claimed(divided, "another")
    assert again.attempt == lost.attempt + 1
    with pytest.raises(lifecycle.LostLease), lifecycle.finishing(lease=lost):
        pass


def test_a_lost_child_is_queued_again_and_its_siblings_go_on(divided: Run) -> None:
    first, second, third = children(divided)
    claimed(first)
    claimed(second)
    Run.with_children.filter(pk=first.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    lifecycle.reap()
    assert [state_of(child) for child in (first, second, third)] == ["queued", "running", "queued"]
    assert claimed(first, "another").attempt == 2
    assert state_of(divided) == RunState.QUEUED


def test_a_failed_child_fails_the_run_when_the_others_have_ended(divided: Run) -> None:
    first, second, third = children(divided)
    lifecycle.fail(lease=claimed(second), message="Too little memory.")
    finish(first)
    assert state_of(divided) == RunState.QUEUED
    finish(third)
    divided.refresh_from_db()
    assert divided.state == RunState.FAILED
    assert divided.message == (
        "Films 11 to 20 could not be scored: Too little memory. 2 of 3 ranges are scored and kept: a retry scores only "
        "the others."
    )


def write_scored(run: Run, first: int, end: int, *, version: str = "") -> None:
    folder = shards.folder_of(paths.run_folder(run.uuid), first, end)
    shard = shards.Shard(first, end, 30, "")
    files.write_json(folder / "run.json", {"code_version": version or code_version(), "shard": shard.to_json()})
    files.write_json(folder / "stages" / "results.json", {})


def test_a_retry_queues_only_what_is_not_scored(
    divided: Run, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    first, second, third = children(divided)
    finish(first)
    finish(third)
    write_scored(divided, 0, 10)
    write_scored(divided, 20, 30, version="of another release, which would not be merged")
    lifecycle.fail(lease=claimed(second), message="No.")
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.retry(run=divided, actor=None)
    assert [state_of(child) for child in (first, second, third)] == ["done", "queued", "queued"]
    assert published[:2] == [str(second.uuid), str(third.uuid)]
    divided.refresh_from_db()
    assert divided.waits_for_children
    assert lifecycle.claim(run_uuid=divided.uuid, owner="me") is None
    finish(second)
    finish(third)
    claimed(divided)


def test_a_retry_begins_anew_where_the_folder_is_gone(divided: Run) -> None:
    for child in children(divided):
        lifecycle.fail(lease=claimed(child), message="No.")
    paths.run_folder(divided.uuid).rmdir()
    lifecycle.retry(run=divided, actor=None)
    assert children(divided) == []
    claimed(divided)


def test_a_cancel_ends_all_of_them(divided: Run) -> None:
    first, second, third = children(divided)
    finish(first)
    lease = claimed(second)
    lifecycle.cancel(run=divided, actor=None)
    assert lifecycle.instruction(lease=lease) is lifecycle.Instruction.CANCEL
    lifecycle.end_cancelled(lease=lease)
    assert [state_of(child) for child in (first, second, third)] == ["done", "cancelled", "cancelled"]
    assert state_of(divided) == RunState.CANCELLED
    lifecycle.retry(run=divided, actor=None)
    assert [state_of(child) for child in (second, third)] == ["queued", "queued"]


def test_a_cancel_while_the_run_is_divided_leaves_no_child(data_dir: Path) -> None:
    split = made.split(made.site())
    run = made.run(split, kind=RunKind.SCORE, detector=made.detector_model(split), most_a_child=10)
    lease = claimed(run)
    lifecycle.cancel(run=run, actor=None)
    sharding.divide(run, lease, [(0, 10), (10, 20)])
    assert (state_of(run), children(run)) == (RunState.CANCELLED, [])


def test_a_lost_lease_divides_nothing(divided: Run) -> None:
    with pytest.raises(lifecycle.LostLease):
        sharding.divide(divided, Lease(divided.pk, divided.uuid, "late", 1), [(0, 15), (15, 30)])
    assert len(children(divided)) == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_children_that_end_at_once_one_publishes_the_merge(divided: Run, published: list[str]) -> None:
    first, second, third = children(divided)
    finish(third)
    published.clear()
    leases = [claimed(first), claimed(second)]
    barrier = threading.Barrier(2)

    def end(lease: Lease) -> None:
        try:
            with lifecycle.finishing(lease=lease):
                barrier.wait(30) if connection.vendor == "postgresql" else None  # both before either commits
        finally:
            connection.close()

    threads = [threading.Thread(target=end, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert published == [str(divided.uuid)]


def test_progress_and_time_left_come_from_the_children(divided: Run) -> None:
    first, second, _ = children(divided)
    finish(first)
    lease = claimed(second)
    lifecycle.beat(lease=lease, progress=Progress("align", 1, 4, 5, 10, 3.0, 60.0, 100.0))
    divided.refresh_from_db()
    assert (divided.stage_index, divided.stage_count) == (1, 3)
    assert (divided.done, divided.total) == (14, 30)  # ten, and of the second 1.5 of 4 stages
    assert divided.run_seconds_left is not None


def child(state: str = "running", count: int = 10, **facts: Any) -> ChildProgress:
    return ChildProgress(**{"count": count, "state": state, "share": 0.0, "seconds": 0.0, "seconds_left": None} | facts)


def test_the_time_left_counts_those_who_work_and_what_waits() -> None:
    done = child("done", share=1.0, seconds=100.0)
    assert seconds_left([done, child("queued"), child("queued")]) == 200
    half = child(seconds=50.0, seconds_left=50.0, share=0.5)
    assert seconds_left([done, half, half, child("queued")]) == 100  # 200 s of work for two
    assert seconds_left([half, child(share=0.5)]) == 50  # one that does not know takes as long as the others
    slow = child(seconds=10.0, seconds_left=500.0)
    assert seconds_left([done, slow, half]) == 500  # the slowest is not shared
    assert seconds_left([child(), child("queued")]) is None


def test_several_failures_are_counted(divided: Run) -> None:
    for one in children(divided):
        lifecycle.fail(lease=claimed(one), message="No.")
    divided.refresh_from_db()
    assert divided.message.startswith("Films 1 to 10 could not be scored: No. Nor could 2 other ranges. 0 of 3 ranges")


def test_ranges_are_sent_again_after_the_broker_was_emptied(divided: Run, published: list[str]) -> None:
    published.clear()
    lifecycle.publish_all_waiting()
    assert published == [str(child.uuid) for child in children(divided)]


@pytest.fixture
def study(data_dir: Path) -> Run:
    """A sweep of four detectors; the last two wait for the features of the first."""
    run = made.run(made.split(made.site()), kind=RunKind.SWEEP, most_a_child=1)
    paths.run_folder(run.uuid).mkdir(parents=True)
    sharding.divide(run, claimed(run), [(0, 1), (1, 2), (2, 4)], {1: 0, 2: 0})
    run.refresh_from_db()
    return run


def test_children_wait_for_the_features_of_a_sibling(
    study: Run, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    leader, second, third = children(study)
    assert [ranges.words(child) for child in (leader, third)] == ["detector 1", "detectors 3 to 4"]
    assert lifecycle.claim(run_uuid=second.uuid, owner="me") is None
    assert (study.done, study.total, study.stage_count) == (0, 4, 3)
    with django_capture_on_commit_callbacks(execute=True):
        finish(leader)
    assert published == [str(second.uuid), str(third.uuid)]
    finish(second)
    finish(third)
    claimed(study)


def test_siblings_of_a_failed_child_compute_its_features_by_themselves(
    study: Run, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    leader, second, third = children(study)
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.fail(lease=claimed(leader), message="Too little memory.")
    assert published == [str(second.uuid), str(third.uuid)]
    finish(second)
    finish(third)
    study.refresh_from_db()
    assert study.state == RunState.FAILED
    assert study.message == (
        "Detector 1 could not be computed: Too little memory. 2 of 3 ranges are computed and kept: a retry computes "
        "only the others."
    )


def test_a_retry_of_a_cancelled_study_waits_for_the_features_again(study: Run) -> None:
    leader, second, third = children(study)
    lifecycle.cancel(run=study, actor=None)
    assert [state_of(child) for child in (study, leader, second, third)] == ["cancelled"] * 4
    lifecycle.retry(run=study, actor=None)
    assert lifecycle.claim(run_uuid=third.uuid, owner="me") is None
    finish(leader)
    claimed(third)


def test_a_retry_of_a_study_begins_anew_where_the_folder_is_gone(study: Run) -> None:
    lifecycle.cancel(run=study, actor=None)
    paths.run_folder(study.uuid).rmdir()
    lifecycle.retry(run=study, actor=None)
    assert children(study) == []


def test_the_words_of_a_range_count_from_one(divided: Run) -> None:
    assert [ranges.words(one) for one in children(divided)] == ["films 1 to 10", "films 11 to 20", "films 21 to 30"]


def test_only_ended_stages_of_a_study_count(study: Run) -> None:
    """Features, banks and scores of a detector are steps of one stage, and each counts its films anew."""
    child = children(study)[0]
    child.state, child.stage_index, child.stage_count = RunState.RUNNING, 0, 2
    child.done, child.total = 9, 10
    assert ranges.share(child) == 0
    child.stage_index, child.done = 1, 0
    assert ranges.share(child) == 0.5
