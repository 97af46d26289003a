"""How many runs are before a queued one, against a worker simulated by the product's own claims; and silent workers."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from ml_engine.models import Run, RunState
from ml_engine.runs import lifecycle
from ml_engine.runs.waiting import has_lost_worker, places, silent_since, wait_of
from tests.ml_engine import made

pytestmark = pytest.mark.django_db


@pytest.fixture
def split(data_dir: Path) -> Any:
    return made.small_split(made.site())


def queued(split: Any, *, ago: float = 0, **fields: Any) -> Run:
    return made.run(split, queued_at=timezone.now() - timedelta(seconds=ago), **fields)


def work() -> list[int]:
    """The order in which a single worker takes all queued runs, each as soon as the life cycle lets it be claimed."""
    taken: list[int] = []
    while waiting := list(Run.objects.filter(state=RunState.QUEUED).order_by("queued_at", "pk")):
        for run in waiting:
            lease = lifecycle.claim(run_uuid=run.uuid, owner="worker")
            if lease is not None:
                with lifecycle.finishing(lease=lease):
                    taken.append(run.pk)
                break
    return taken


def test_places_are_the_order_in_which_a_worker_takes_the_runs(split: Any) -> None:
    generator = random.Random(7)
    runs: list[Run] = []
    for number in range(12):
        runs.append(queued(split, ago=100 - number, after=generator.choice([None, *runs])))
    before = places()
    assert sorted(before, key=lambda pk: before[pk]) == work()


def test_a_running_run_is_before_those_that_were_queued_earlier(split: Any) -> None:
    first = queued(split, ago=60)
    made.run(split, state=RunState.RUNNING, run_seconds_left=75.0)
    wait = wait_of(first)
    assert wait is not None
    assert (wait.before, wait.seconds_left, wait.silent_since) == (1, 75.0, None)


def test_the_time_of_several_runs_before_is_not_known(split: Any) -> None:
    made.run(split, state=RunState.RUNNING, run_seconds_left=75.0)
    queued(split, ago=5)
    wait = wait_of(queued(split))
    assert wait is not None
    assert (wait.before, wait.seconds_left) == (2, None)


def test_what_waits_for_a_failed_run_is_before_nobody(split: Any) -> None:
    failed = queued(split, state=RunState.FAILED)
    queued(split, ago=9, after=failed)
    wait = wait_of(queued(split))
    assert wait is not None
    assert wait.before == 0


def test_a_retried_run_goes_to_the_end(split: Any) -> None:
    failed = queued(split, ago=500, state=RunState.FAILED)
    other = queued(split, ago=60)
    lifecycle.retry(run=failed, actor=None)
    assert places() == {other.pk: 0, failed.pk: 1}


def test_a_run_that_is_not_queued_waits_for_nothing(split: Any) -> None:
    assert wait_of(made.run(split, state=RunState.RUNNING)) is None
    assert wait_of(made.run(split, state=RunState.DONE)) is None


def test_a_worker_is_silent_when_it_takes_no_run_for_a_minute(split: Any) -> None:
    run = queued(split, ago=30)
    assert silent_since() is None
    Run.objects.filter(pk=run.pk).update(queued_at=timezone.now() - timedelta(seconds=120))
    assert silent_since() == Run.objects.get(pk=run.pk).queued_at
    beating = made.run(split, state=RunState.RUNNING)
    assert silent_since() is None
    Run.objects.filter(pk=beating.pk).update(lease_until=timezone.now() - timedelta(seconds=5))
    assert silent_since() is not None


def test_a_run_whose_lease_lapsed_has_lost_its_worker(split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING)
    assert not has_lost_worker(run)
    run.lease_until = timezone.now() - timedelta(seconds=1)
    assert has_lost_worker(run)
