"""The life of a Run: claim, heartbeat, finish, fail, cancel, lose, retry, and the reaper that requeues lost runs.

    queued -> running -> done | failed | cancelled          queued -> cancelled
    a lapsed lease: running -> queued; the third loss: failed; a retry by a person: failed | cancelled -> queued

Every step is one conditional UPDATE, so a second delivery, a late process or two reapers at once do no harm.
A supervisor's writes are fenced by its lease: owner and attempt. All times come from the database's clock.
Runs are requested in `ml_engine.runs.requests`.
"""

import enum
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerDown

from ml_engine.models import Run, RunState
from portal.models import Dataset, User
from portal.people import audit
from portal.people.access import require
from portal.sets.approvals import why_ended

logger = logging.getLogger(__name__)

EXECUTE = "ml_engine.tasks.execute_run"
MAIL_END = "ml_engine.tasks.mail_end"
PUBLISH_AGAIN_SECONDS = 15  # after the first message; then twice as long each time, since a copy waits at the broker
PUBLISH_AGAIN_AT_MOST_SECONDS = 600

_NO_LEASE = {"lease_owner": "", "lease_until": None, "seconds_left": None, "run_seconds_left": None}


class RunRefused(Exception):
    """The request cannot be carried out; the text gives the reason and is shown to the user. ``field`` is that of a
    form or of the API which it is about, if it is about one."""

    def __init__(self, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class LostLease(Exception):
    """Another process holds this run, or it has ended: the caller must stop and write nothing."""


class Instruction(enum.Enum):
    """What the supervisor has to do after a heartbeat."""

    GO_ON = "go on"
    CANCEL = "cancel"
    STOP = "stop"  # the lease is no longer ours


@dataclass(frozen=True)
class Lease:
    """The right to work on a run, until it lapses."""

    run_id: int
    run_uuid: uuid.UUID
    owner: str
    attempt: int


@dataclass(frozen=True)
class Progress:
    stage: str
    stage_index: int
    stage_count: int
    done: int
    total: int
    seconds_left: float | None
    run_seconds_left: float | None
    memory_mib: float | None


# Delivery ------------------------------------------------------------------------------------------


def publish_on_commit(run: Run) -> None:
    transaction.on_commit(lambda: publish(run))


def publish(run: Run) -> bool:
    """Send the run to the broker. While the broker is down the run stays queued, and the reaper publishes it later."""
    try:
        current_app.send_task(EXECUTE, args=[str(run.uuid)], retry=False)
    except (BrokerDown, KombuError, OSError) as error:
        logger.warning("run %s could not be published and stays queued: %s", run.uuid, type(error).__name__)
        return False
    Run.objects.filter(pk=run.pk).update(published_at=Now())
    return True


def _mail_on_commit(run: Run) -> None:
    """Let a worker mail to whoever requested the run. A mail that the broker does not take is not sent."""
    if settings.EMAIL_HOST and run.requested_by is not None and run.requested_by.mail_at_run_end:
        transaction.on_commit(lambda: _send_mail(run))


def _send_mail(run: Run) -> None:
    try:
        current_app.send_task(MAIL_END, args=[str(run.uuid)], retry=False)
    except (BrokerDown, KombuError, OSError) as error:
        logger.warning("run %s: no mail of its end: %s", run.uuid, type(error).__name__)


def _ready() -> Q:
    """Runs whose predecessor is done, or that have none. A subquery and not a join, so that `state` stays a condition
    of the UPDATE itself: PostgreSQL checks it again after waiting for a row that another process has just claimed."""
    return Q(after=None) | Q(after__in=Run.objects.filter(state=RunState.DONE).values("pk"))


# The supervisor's steps ----------------------------------------------------------------------------


def _lease_end() -> ExpressionWrapper:
    return ExpressionWrapper(Now() + timedelta(seconds=settings.RUN_LEASE_SECONDS), output_field=DateTimeField())


def _held(lease: Lease) -> QuerySet[Run]:
    return Run.objects.filter(pk=lease.run_id, state=RunState.RUNNING, lease_owner=lease.owner, attempt=lease.attempt)


def claim(*, run_uuid: uuid.UUID, owner: str) -> Lease | None:
    """Take the lease on a queued run and increase its attempt number. None if another worker was first or there is
    nothing to do."""
    with transaction.atomic():
        queued = Run.objects.filter(_ready(), uuid=run_uuid, state=RunState.QUEUED, cancel_requested=False)
        changed = queued.update(
            state=RunState.RUNNING,
            attempt=F("attempt") + 1,
            lease_owner=owner,
            lease_until=_lease_end(),
            heartbeat_at=Now(),
            started_at=Coalesce("started_at", Now()),
            message="",
            detail="",
        )
        if not changed:
            return None
        run = Run.objects.select_related("after").get(uuid=run_uuid)
        _take_model_of_previous(run)
    return Lease(run_id=run.pk, run_uuid=run.uuid, owner=owner, attempt=run.attempt)


def _take_model_of_previous(run: Run) -> None:
    """Start from the model of the run that this one waited for."""
    if run.after is None:
        return
    if run.facts.starts_from == "alignment" and run.alignment_id is None:
        run.alignment = run.after.alignment_made
        run.save(update_fields=["alignment"])
    if run.facts.starts_from == "detector" and run.detector_id is None:
        run.detector = run.after.detector_made
        run.save(update_fields=["detector"])


def beat(*, lease: Lease, progress: Progress | None = None) -> Instruction:
    """Prolong the lease and store progress. Returns whether to go on."""
    fields = asdict(progress) if progress else {}
    if not _held(lease).update(lease_until=_lease_end(), heartbeat_at=Now(), **fields):
        return Instruction.STOP
    return instruction(lease=lease)


def instruction(*, lease: Lease) -> Instruction:
    """Whether to go on; writes nothing."""
    cancelled = _held(lease).values_list("cancel_requested", flat=True).first()
    if cancelled is None:
        return Instruction.STOP
    return Instruction.CANCEL if cancelled else Instruction.GO_ON


def note_versions(*, lease: Lease, versions: dict[str, str]) -> None:
    _held(lease).update(versions=versions)


def note_device(*, lease: Lease, device: str) -> None:
    """Store the device that the engine reports."""
    _held(lease).update(device=device[:40])


@contextmanager
def finishing(*, lease: Lease, unreadable: int = 0) -> Iterator[Run]:
    """One transaction: the body stores the results, then the run is done. Raises LostLease before the body runs
    if the lease is lost. The row is locked meanwhile, so that a lease that lapses while storing does no harm."""
    with transaction.atomic():
        run = _held(lease).select_for_update().first()
        if run is None:
            raise LostLease
        yield run
        _held(lease).update(
            state=RunState.DONE, finished_at=Now(), unreadable=unreadable, cancel_requested=False, **_NO_LEASE
        )
        followers = Run.objects.filter(after=run, state=RunState.QUEUED)
        followers.update(queued_at=Now())
        for follower in followers:
            publish_on_commit(follower)
        _mail_on_commit(run)


def fail(*, lease: Lease, message: str, detail: str = "") -> bool:
    return _end(_held(lease), lease.run_id, state=RunState.FAILED, message=message, detail=detail)


def end_cancelled(*, lease: Lease) -> bool:
    """End a run whose engine was stopped because a person cancelled it."""
    return _end(_held(lease), lease.run_id, state=RunState.CANCELLED)


def lose(*, lease: Lease, reason: str) -> bool:
    """The engine was killed: queue the run again, or fail it after the last attempt."""
    run = Run.objects.get(pk=lease.run_id)
    return _lose(_held(lease), run, reason=reason)


def hand_back(*, lease: Lease) -> bool:
    """The worker is being stopped and its engine has ended: queue the run again. This does not count as a loss."""
    with transaction.atomic():
        changed = _hand_back(_held(lease), Run.objects.get(pk=lease.run_id))
        if changed:
            publish_on_commit(Run.objects.get(pk=lease.run_id))
    return changed


def hand_back_all() -> int:
    """Queue all running runs again after the only worker of an installation and its broker have ended; the next start
    publishes them. Returns how many."""
    return sum(_hand_back(Run.objects.filter(pk=run.pk), run) for run in Run.objects.filter(state=RunState.RUNNING))


def _hand_back(held: QuerySet[Run], run: Run) -> bool:
    """A run that a person has cancelled meanwhile ends here: no worker would take it from the queue."""
    running = held.filter(state=RunState.RUNNING)
    if _end(running.filter(cancel_requested=True), run.pk, state=RunState.CANCELLED):
        return False
    waiting = running.filter(cancel_requested=False)
    return bool(waiting.update(state=RunState.QUEUED, queued_at=Now(), published_at=None, **_NO_LEASE))


def _end(held: QuerySet[Run], run_id: int, *, state: RunState, message: str = "", detail: str = "") -> bool:
    with transaction.atomic():
        changed = held.update(
            state=state, finished_at=Now(), message=message, detail=detail, cancel_requested=False, **_NO_LEASE
        )
        if changed:
            ended = Run.objects.select_related("requested_by").get(pk=run_id)
            _fail_followers(ended)
            _mail_on_commit(ended)
    return bool(changed)


def _fail_followers(run: Run) -> None:
    outcome = "was cancelled" if run.state == RunState.CANCELLED else "failed"
    sentence = f"It waited for the run “{run.name}”, which {outcome}. Retry that run, then this one."
    for follower in Run.objects.filter(after=run, state=RunState.QUEUED):
        waiting = Run.objects.filter(pk=follower.pk, state=RunState.QUEUED)
        _end(waiting, follower.pk, state=RunState.FAILED, message=sentence)


def _lose(held: QuerySet[Run], run: Run, *, reason: str) -> bool:
    held = held.filter(cancel_requested=run.cancel_requested)  # after a cancel in between, the next reaper decides
    if run.cancel_requested:
        return _end(held, run.pk, state=RunState.CANCELLED)
    losses = run.losses + 1
    if losses >= settings.RUN_ATTEMPTS:
        return _end(held, run.pk, state=RunState.FAILED, message=_lost_for_good(run, losses), detail=reason)
    with transaction.atomic():
        changed = held.update(
            state=RunState.QUEUED, queued_at=Now(), losses=losses, published_at=None, detail=reason, **_NO_LEASE
        )
        if changed:
            publish_on_commit(run)
    return bool(changed)


def _lost_for_good(run: Run, losses: int) -> str:
    where = f", the last time in stage “{run.stage}”" if run.stage else ""
    return (
        f"The run's process was lost {losses} times{where}. Most often the machine has too little "
        "memory: clone the run with a smaller size, rate or batch, or free memory and retry. "
        "A retry continues after the last finished stage."
    )


# What people do ------------------------------------------------------------------------------------


def cancel(*, run: Run, actor: User | None) -> Run:
    """Cancel a run: a queued one ends at once, a running one as soon as its supervisor has stopped the engine.
    `actor` is None for a command on the server. Raises RunRefused."""
    _require(actor, run)
    with transaction.atomic():
        before = {"state": run.state}
        waiting = Run.objects.filter(pk=run.pk, state=RunState.QUEUED)
        if not _end(waiting, run.pk, state=RunState.CANCELLED):
            running = Run.objects.filter(pk=run.pk, state=RunState.RUNNING)
            if not running.update(cancel_requested=True):
                run.refresh_from_db()
                raise RunRefused(f"“{run.name}” is already {run.get_state_display().lower()}: nothing to cancel.")
        audit.record(verb="cancel run", site=run.site, actor=actor, target=run, before=before)
    run.refresh_from_db()
    return run


def retry(*, run: Run, actor: User | None) -> Run:
    """Queue a failed or cancelled run again; it continues after the last finished stage in its folder.
    Raises RunRefused."""
    _require(actor, run)
    with transaction.atomic():
        previous = run.after
        if previous is not None and previous.state in (RunState.FAILED, RunState.CANCELLED):
            raise RunRefused(
                f"“{run.name}” needs the result of “{previous.name}”, which is "
                f"{previous.get_state_display().lower()}. Retry that run first."
            )
        if why := why_ended(Dataset.objects.filter(Q(runs=run) | Q(splits=run.split_id)).select_related("site")):
            raise RunRefused(why)
        before = {"state": run.state, "message": run.message}
        ended = Run.objects.filter(pk=run.pk, state__in=[RunState.FAILED, RunState.CANCELLED])
        changed = ended.update(
            state=RunState.QUEUED,
            stage="",
            stage_index=0,
            stage_count=0,
            done=0,
            total=0,
            losses=0,
            started_at=None,
            finished_at=None,
            queued_at=Now(),
            published_at=None,
            message="",
            detail="",
            cancel_requested=False,
            **_NO_LEASE,
        )
        if not changed:
            run.refresh_from_db()
            raise RunRefused(
                f"“{run.name}” is {run.get_state_display().lower()}: only a failed or cancelled run is retried."
            )
        audit.record(verb="retry run", site=run.site, actor=actor, target=run, before=before)
        publish_on_commit(run)
    run.refresh_from_db()
    return run


def _require(actor: User | None, run: Run) -> None:
    if actor is not None:
        require(actor, "request runs", run.site)


# The reaper ----------------------------------------------------------------------------------------


def reap() -> int:
    """Queue lost runs again and publish waiting ones again. Returns how many runs it changed. Safe at any time."""
    return _requeue_lapsed() + _fail_orphans() + _publish_waiting()


def _requeue_lapsed() -> int:
    lapsed = Q(state=RunState.RUNNING, lease_until__lt=Now())
    moved = 0
    for run in Run.objects.filter(lapsed):
        held = Run.objects.filter(lapsed, pk=run.pk, lease_owner=run.lease_owner, attempt=run.attempt)
        moved += _lose(held, run, reason=f"The lease of attempt {run.attempt} lapsed ({run.lease_owner}).")
    return moved


def _fail_orphans() -> int:
    """Fail queued runs whose predecessor ended without a result."""
    ended = Run.objects.filter(
        state__in=[RunState.FAILED, RunState.CANCELLED], followers__state=RunState.QUEUED
    ).distinct()
    for run in ended:
        _fail_followers(run)
    return len(ended)


def _publish_waiting() -> int:
    waiting = Run.objects.filter(_ready(), state=RunState.QUEUED).annotate(now=Now())
    published = 0
    for run in waiting.order_by("created_at"):
        if not _is_due(run, now=run.now):
            continue
        if not publish(run):  # the broker is down, and each try takes seconds: do not try the other runs
            break
        published += 1
    return published


def _is_due(run: Run, *, now: datetime) -> bool:
    published = run.published_at
    if published is None:  # never published, or just queued again: its own message may still be under way
        return now - run.created_at > timedelta(seconds=2)
    waited_before = (published - run.created_at).total_seconds()
    pause = min(max(PUBLISH_AGAIN_SECONDS, waited_before), PUBLISH_AGAIN_AT_MOST_SECONDS)
    return now - published > timedelta(seconds=pause)
