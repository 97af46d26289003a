"""The life of a run, step by step: rows only, without an engine."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import lifecycle
from ml_engine.runs.lifecycle import Instruction, Lease, LostLease, Progress, RunRefused
from portal.models import AuditEvent, Role
from tests.ml_engine import made

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def split() -> Any:
    return made.split(made.site())


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the runs that were sent to the queue; no broker is needed."""
    sent: list[str] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args, **_: sent.append(args[0]))
    return sent


def claimed(run: Run, owner: str = "me") -> Lease:
    lease = lifecycle.claim(run_uuid=run.uuid, owner=owner)
    assert lease is not None
    return lease


def lapse(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


# claim ------------------------------------------------------------------------------------------------


def test_a_claim_gives_the_lease_to_the_first(split: Any) -> None:
    run = made.run(split)
    lease = claimed(run)
    run.refresh_from_db()
    assert (run.state, run.attempt, run.lease_owner) == (RunState.RUNNING, 1, "me")
    assert run.lease_until > run.heartbeat_at
    assert run.started_at == run.heartbeat_at
    assert lease.attempt == 1


def test_a_second_delivery_gets_nothing(split: Any) -> None:
    run = made.run(split)
    claimed(run)
    assert lifecycle.claim(run_uuid=run.uuid, owner="another") is None


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED, RunState.CANCELLED])
def test_an_ended_run_is_not_claimed(split: Any, state: RunState) -> None:
    run = made.run(split, state=state)
    assert lifecycle.claim(run_uuid=run.uuid, owner="me") is None


def test_a_run_waits_for_the_one_before(split: Any) -> None:
    before = made.run(split)
    run = made.run(split, kind=RunKind.FIT_DETECTOR, after=before)
    assert lifecycle.claim(run_uuid=run.uuid, owner="me") is None


def test_a_claim_takes_the_model_of_the_one_before(split: Any) -> None:
    alignment, detector = made.alignment_model(split), made.detector_model(split)
    fit = made.run(split, kind=RunKind.FIT_DETECTOR, after=alignment.run)
    score = made.run(split, kind=RunKind.SCORE, after=detector.run)
    claimed(fit)
    claimed(score)
    fit.refresh_from_db()
    score.refresh_from_db()
    assert fit.alignment == alignment
    assert score.detector == detector


# beat -------------------------------------------------------------------------------------------------


def test_a_beat_prolongs_the_lease_and_stores_progress(split: Any) -> None:
    run = made.run(split)
    lease = claimed(run)
    lapse(run)
    progress = Progress("banks", 4, 8, 30, 100, 12.5, 90.0, 800.0)
    assert lifecycle.beat(lease=lease, progress=progress) is Instruction.GO_ON
    run.refresh_from_db()
    assert (run.stage, run.stage_index, run.done, run.total, run.seconds_left) == ("banks", 4, 30, 100, 12.5)
    assert run.run_seconds_left == 90.0
    assert run.lease_until > timezone.now()


def test_a_beat_returns_a_cancel(split: Any) -> None:
    run = made.run(split)
    lease = claimed(run)
    lifecycle.cancel(run=run, actor=None)
    assert lifecycle.beat(lease=lease) is Instruction.CANCEL
    assert lifecycle.instruction(lease=lease) is Instruction.CANCEL


def test_a_beat_with_an_old_lease_returns_stop_and_changes_nothing(split: Any) -> None:
    run = made.run(split)
    old = claimed(run)
    lapse(run)
    lifecycle.reap()
    claimed(run, "another")
    assert lifecycle.beat(lease=old, progress=Progress("x", 1, 1, 1, 1, None, None, None)) is Instruction.STOP
    run.refresh_from_db()
    assert (run.stage, run.lease_owner, run.attempt) == ("", "another", 2)


# ends -------------------------------------------------------------------------------------------------


def test_finishing_ends_the_run_with_what_the_body_stored(split: Any) -> None:
    run = made.run(split)
    with lifecycle.finishing(lease=claimed(run), unreadable=2) as locked:
        locked.note = "stored"
        locked.save()
    run.refresh_from_db()
    assert (run.state, run.unreadable, run.lease_owner, run.note) == (RunState.DONE, 2, "", "stored")
    assert run.finished_at is not None


def test_finishing_without_the_lease_stores_nothing(split: Any) -> None:
    run = made.run(split)
    lease = claimed(run)
    lapse(run)
    lifecycle.reap()
    with pytest.raises(LostLease), lifecycle.finishing(lease=lease):
        pytest.fail("the body must not run")


def test_a_failing_body_leaves_the_run_running(split: Any) -> None:
    run = made.run(split)
    lease = claimed(run)

    def store_badly() -> None:
        with lifecycle.finishing(lease=lease) as locked:
            locked.note = "half"
            locked.save()
            raise ValueError

    with pytest.raises(ValueError):
        store_badly()
    run.refresh_from_db()
    assert (run.state, run.note) == (RunState.RUNNING, "")


def test_a_finished_run_publishes_its_followers(
    split: Any, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    before = made.run(split)
    waiting = made.run(split, kind=RunKind.FIT_DETECTOR, after=before)
    lease = claimed(before)
    with django_capture_on_commit_callbacks(execute=True), lifecycle.finishing(lease=lease):
        pass
    assert published == [str(waiting.uuid)]


@pytest.mark.parametrize(("end", "outcome"), [("fail", "failed"), ("cancel", "was cancelled")])
def test_followers_of_a_run_without_a_result_fail_with_a_sentence(split: Any, end: str, outcome: str) -> None:
    first = made.run(split, name="The alignment")
    second = made.run(split, kind=RunKind.FIT_DETECTOR, after=first, name="The detector")
    third = made.run(split, kind=RunKind.SCORE, after=second)
    if end == "fail":
        lifecycle.fail(lease=claimed(first), message="No.", detail="why")
    else:
        lifecycle.cancel(run=first, actor=None)
    second.refresh_from_db()
    third.refresh_from_db()
    assert second.message == f"It waited for the run “The alignment”, which {outcome}. Retry that run, then this one."
    assert third.state == RunState.FAILED
    assert "The detector" in third.message


def test_a_failure_stores_its_sentence_and_its_detail(split: Any) -> None:
    run = made.run(split)
    assert lifecycle.fail(lease=claimed(run), message="The disk is full.", detail="Traceback")
    run.refresh_from_db()
    assert (run.state, run.message, run.detail) == (RunState.FAILED, "The disk is full.", "Traceback")


def test_a_run_handed_back_is_queued_and_counts_no_loss(split: Any) -> None:
    run = made.run(split)
    assert lifecycle.hand_back(lease=claimed(run))
    run.refresh_from_db()
    assert (run.state, run.losses, run.lease_owner) == (RunState.QUEUED, 0, "")
    assert claimed(run).attempt == 2  # the run folder refuses the number of an earlier attempt


@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_run_cancelled_before_it_is_handed_back_ends(split: Any, all_of_them: bool) -> None:
    run = made.run(split)
    lease = claimed(run)
    lifecycle.cancel(run=run, actor=None)
    if all_of_them:
        lifecycle.hand_back_all()
    else:
        lifecycle.hand_back(lease=lease)
    run.refresh_from_db()
    assert (run.state, run.cancel_requested) == (RunState.CANCELLED, False)


def test_runs_of_a_stopped_installation_are_queued_and_count_no_loss(split: Any) -> None:
    run, done = made.run(split), made.run(split)
    claimed(run)
    Run.objects.filter(pk=done.pk).update(state=RunState.DONE)
    assert lifecycle.hand_back_all() == 1
    run.refresh_from_db()
    done.refresh_from_db()
    assert (run.state, run.losses, run.lease_until) == (RunState.QUEUED, 0, None)
    assert done.state == RunState.DONE


# losses -----------------------------------------------------------------------------------------------


def test_a_lapsed_lease_queues_the_run_again(
    split: Any, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    run = made.run(split)
    claimed(run)
    lapse(run)
    with django_capture_on_commit_callbacks(execute=True):
        assert lifecycle.reap() >= 1
    run.refresh_from_db()
    assert (run.state, run.losses) == (RunState.QUEUED, 1)
    assert published == [str(run.uuid)]


def test_a_living_run_is_left_alone(split: Any) -> None:
    run = made.run(split)
    claimed(run)
    assert lifecycle.reap() == 0
    run.refresh_from_db()
    assert run.state == RunState.RUNNING


def test_the_third_loss_fails_the_run(split: Any) -> None:
    run = made.run(split)
    for attempt in (1, 2, 3):
        assert claimed(run).attempt == attempt
        lapse(run)
        lifecycle.reap()
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.message.startswith("The run's process was lost 3 times.")
    assert lifecycle.claim(run_uuid=run.uuid, owner="me") is None


def test_a_killed_engine_is_a_loss_too(split: Any) -> None:
    run = made.run(split)
    assert lifecycle.lose(lease=claimed(run), reason="SIGKILL")
    run.refresh_from_db()
    assert (run.state, run.losses, run.detail) == (RunState.QUEUED, 1, "SIGKILL")


def test_a_cancelled_run_that_is_lost_ends_as_cancelled(split: Any) -> None:
    run = made.run(split)
    claimed(run)
    lifecycle.cancel(run=run, actor=None)
    lapse(run)
    lifecycle.reap()
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED


def test_the_reaper_fails_followers_of_a_failed_run(split: Any) -> None:
    failed = made.run(split, state=RunState.FAILED)
    waiting = made.run(split, kind=RunKind.FIT_DETECTOR, after=failed)
    lifecycle.reap()
    waiting.refresh_from_db()
    assert waiting.state == RunState.FAILED


# delivery ---------------------------------------------------------------------------------------------


def age(run: Run, *, created: float, published: float | None) -> None:
    now = timezone.now()
    Run.objects.filter(pk=run.pk).update(
        created_at=now - timedelta(seconds=created),
        published_at=None if published is None else now - timedelta(seconds=published),
    )


@pytest.mark.parametrize(
    ("created", "since", "again"),
    [
        (60, None, True),  # the broker was down
        (1, None, False),  # its own message is under way
        (16, 16, True),
        (10, 10, False),
        (100, 40, False),  # published after a minute: the next message follows after another minute
        (100, 51, True),
        (9000, 590, False),
        (9000, 610, True),
    ],
)
def test_the_reaper_publishes_a_waiting_run_again(
    split: Any, published: list[str], created: float, since: float | None, again: bool
) -> None:
    run = made.run(split)
    age(run, created=created, published=since)
    lifecycle.reap()
    assert published == ([str(run.uuid)] if again else [])


def test_the_reaper_publishes_no_run_that_waits_for_another(split: Any, published: list[str]) -> None:
    before = made.run(split, state=RunState.RUNNING)
    waiting = made.run(split, kind=RunKind.FIT_DETECTOR, after=before)
    age(waiting, created=60, published=None)
    lifecycle.reap()
    assert published == []


def test_without_a_broker_the_run_stays_queued(split: Any) -> None:
    run = made.run(split)
    assert lifecycle.publish(run) is False  # the tests' settings name a broker that is not running
    run.refresh_from_db()
    assert (run.state, run.published_at) == (RunState.QUEUED, None)


# people -----------------------------------------------------------------------------------------------


def test_a_queued_run_is_cancelled_at_once_and_audited(split: Any) -> None:
    manager = made.person("mina", at=split.site, role=Role.MANAGER)
    run = lifecycle.cancel(run=made.run(split), actor=manager)
    assert run.state == RunState.CANCELLED
    event = AuditEvent.objects.get(verb="cancel run")
    assert (event.actor, event.target_uuid, event.before) == (manager, run.uuid, {"state": "queued"})


def test_an_ended_run_is_not_cancelled(split: Any) -> None:
    run = made.run(split, state=RunState.DONE)
    with pytest.raises(RunRefused, match="already done: nothing to cancel"):
        lifecycle.cancel(run=run, actor=None)
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_retry_queues_the_run_anew(split: Any, state: RunState) -> None:
    run = made.run(split, state=state, attempt=3, losses=3, message="Lost.", stage="banks")
    lifecycle.retry(run=run, actor=None)
    assert (run.state, run.attempt, run.losses, run.message, run.stage) == (RunState.QUEUED, 3, 0, "", "")
    assert claimed(run).attempt == 4
    assert AuditEvent.objects.get(verb="retry run").before == {"state": state, "message": "Lost."}


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING, RunState.DONE])
def test_only_a_failed_or_cancelled_run_is_retried(split: Any, state: RunState) -> None:
    with pytest.raises(RunRefused, match="only a failed or cancelled run is retried"):
        lifecycle.retry(run=made.run(split, state=state), actor=None)


def test_a_retry_needs_the_run_before(split: Any) -> None:
    before = made.run(split, state=RunState.FAILED, name="The alignment")
    run = made.run(split, kind=RunKind.FIT_DETECTOR, state=RunState.FAILED, after=before)
    with pytest.raises(RunRefused, match=r"“The alignment”, which is failed\. Retry that run first"):
        lifecycle.retry(run=run, actor=None)


@pytest.mark.parametrize("act", [lifecycle.cancel, lifecycle.retry])
def test_a_reader_may_not(split: Any, act: Any) -> None:
    reader = made.person("rho", at=split.site, role=Role.READER)
    with pytest.raises(PermissionDenied):
        act(run=made.run(split), actor=reader)


# two at once ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_gets_the_run() -> None:
    run = made.run(made.split(made.site()))
    start, leases = threading.Barrier(6), []

    def work(owner: str) -> None:
        start.wait()
        leases.append(lifecycle.claim(run_uuid=run.uuid, owner=owner))
        connection.close()

    threads = [threading.Thread(target=work, args=(f"worker {k}",)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in leases) == 1
