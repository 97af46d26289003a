"""What a queued run waits for: how many runs are before it, and whether a worker takes any.

All runs of an installation share its worker, whatever their site. A run that is ready stands in the order in which it
was queued; one that needs the model of another is queued when that one is done.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Min, Q, QuerySet
from django.utils import timezone

from ml_engine.models import Run, RunState
from ml_engine.runs.ranges import waiting_for_children

TIME_TO_TAKE = timedelta(seconds=60)  # a free worker takes a run within a second; the reaper publishes lost ones
ACTIVE = (RunState.QUEUED, RunState.RUNNING)


@dataclass(frozen=True)
class Wait:
    """``before`` runs are executed first, of which the one that runs has ``seconds_left`` if it is the only one and the
    time is known. ``silent_since``: no worker has reported or taken a run since then."""

    before: int
    seconds_left: float | None
    silent_since: datetime | None


def wait_of(run: Run) -> Wait | None:
    """None for a run that is not queued."""
    before = places().get(run.pk)
    if before is None or run.state != RunState.QUEUED:
        return None
    return Wait(before=before, seconds_left=_seconds_left() if before == 1 else None, silent_since=silent_since())


def places() -> dict[int, int]:
    """By primary key of each queued or running run, how many are executed before it by a single worker. Those that run
    already are the first."""
    fields = ("pk", "state", "after_id", "after__state")
    active = list(_to_be_executed().filter(state__in=ACTIVE).order_by("queued_at", "pk").values(*fields))
    followers: dict[int, list[int]] = defaultdict(list)
    for run in active:
        followers[run["after_id"]].append(run["pk"])
    ready = [run for run in active if run["after__state"] in (None, RunState.DONE)]
    in_order = sorted(ready, key=lambda run: run["state"] != RunState.RUNNING)  # stable: then as they were queued
    return {pk: place for place, pk in enumerate(_as_executed((run["pk"] for run in in_order), followers))}


def _to_be_executed() -> QuerySet[Run]:
    """Runs and the children of divided ones, without those that only wait for their children."""
    return Run.with_children.exclude(waiting_for_children())


def _as_executed(ready: Iterable[int], followers: dict[int, list[int]]) -> Iterable[int]:
    """The order of a worker that takes what was queued first; a run that ends puts its followers at the end."""
    queue = deque(ready)
    while queue:
        run = queue.popleft()
        yield run
        queue.extend(followers[run])


def _seconds_left() -> float | None:
    """Of the run that is executed now, if there is one and its time is known."""
    running = _to_be_executed().filter(state=RunState.RUNNING).values_list("run_seconds_left", flat=True)
    return running[0] if len(running) == 1 else None


def silent_since() -> datetime | None:
    """Since when no worker has reported or taken a run, although one could be taken; None while that is not so."""
    now = timezone.now()
    runs = _to_be_executed()
    if runs.filter(state=RunState.RUNNING, lease_until__gte=now).exists():
        return None
    ready = Q(after=None) | Q(after__state=RunState.DONE)
    oldest = runs.filter(ready, state=RunState.QUEUED).aggregate(at=Min("queued_at"))["at"]
    if oldest is None or now - oldest < TIME_TO_TAKE:
        return None
    last = runs.aggregate(at=Max("heartbeat_at"))["at"]
    return max(oldest, last) if last else oldest


def has_lost_worker(run: Run) -> bool:
    """Whether the worker of a running run stopped reporting; the next one that starts continues the run."""
    return run.state == RunState.RUNNING and run.lease_until is not None and run.lease_until < timezone.now()
