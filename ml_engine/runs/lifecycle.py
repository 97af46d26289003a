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

from ml_engine.models import CHILDREN, Run, RunState
from ml_engine.runs import ranges, run_bucket
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


_AGAIN = _NO_LEASE | {
    "state": RunState.QUEUED,
    "losses": 0,
    "finished_at": None,
    "queued_at": Now(),
    "published_at": None,
    "message": "",
    "detail": "",
    "cancel_requested": False,
}


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
    parent_id: int | None = None


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
    Run.with_children.filter(pk=run.pk).update(published_at=Now())
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
    """Runs whose predecessor and children are done, or that have none. Subqueries and not a join, so that `state` stays
    a condition of the UPDATE itself: PostgreSQL checks it again after waiting for a row that another process has just
    claimed."""
    done = Run.with_children.filter(state=RunState.DONE).values("pk")
    return (Q(after=None) | Q(after__in=done)) & ranges.all_done()


# The supervisor's steps ----------------------------------------------------------------------------


def _lease_end() -> ExpressionWrapper:
    return ExpressionWrapper(Now() + timedelta(seconds=settings.RUN_LEASE_SECONDS), output_field=DateTimeField())


def _held(lease: Lease) -> QuerySet[Run]:
    return Run.with_children.filter(
        pk=lease.run_id, state=RunState.RUNNING, lease_owner=lease.owner, attempt=lease.attempt
    )


def claim(*, run_uuid: uuid.UUID, owner: str) -> Lease | None:
    """Take the lease on a queued run and increase its attempt number. None if another worker was first or there is
    nothing to do."""
    with transaction.atomic():
        queued = Run.with_children.filter(_ready(), uuid=run_uuid, state=RunState.QUEUED, cancel_requested=False)
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
        run = Run.with_children.select_related("after").get(uuid=run_uuid)
        _take_model_of_previous(run)
    return Lease(run_id=run.pk, run_uuid=run.uuid, owner=owner, attempt=run.attempt, parent_id=run.parent_id)


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
    if progress and lease.parent_id is not None:
        ranges.note_progress(lease.parent_id)
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


def note(*, lease: Lease, message: str) -> None:
    """Show a sentence on the page of the run that executes."""
    _held(lease).update(message=message)


@contextmanager
def holding(*, lease: Lease) -> Iterator[Run]:
    """One transaction, in which the row is locked, so that a lease that lapses meanwhile does no harm. Raises LostLease
    before the body runs if the lease is lost."""
    with transaction.atomic():
        run = _held(lease).select_for_update().first()
        if run is None:
            raise LostLease
        yield run


@contextmanager
def finishing(*, lease: Lease, unreadable: int = 0) -> Iterator[Run]:
    """As `holding`: the body stores the results, then the run is done."""
    with holding(lease=lease) as run:
        yield run
        _held(lease).update(
            state=RunState.DONE,
            finished_at=Now(),
            unreadable=unreadable,
            cancel_requested=False,
            message="",
            **_NO_LEASE,
        )
        _settle_parent(run)
        followers = Run.with_children.filter(after=run, state=RunState.QUEUED).order_by("pk")
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
    run = Run.with_children.get(pk=lease.run_id)
    return _lose(_held(lease), run, reason=reason)


def hand_back(*, lease: Lease) -> bool:
    """The worker is being stopped and its engine has ended: queue the run again. This does not count as a loss."""
    with transaction.atomic():
        run = Run.with_children.get(pk=lease.run_id)
        changed = _hand_back(_held(lease), run)
        if changed:
            publish_on_commit(run)
    return changed


def wait_for_children(*, lease: Lease, count: int, total: int) -> bool:
    """Put the run back into the queue, where nobody takes it until the ``count`` children that the caller stores, for
    ``total`` films or cells, are done. False if a person has cancelled it meanwhile. Raises LostLease."""
    run = _held(lease).select_for_update().first()
    if run is None:
        raise LostLease
    if not _hand_back(_held(lease), run):
        return False
    Run.with_children.filter(pk=run.pk).update(
        stage=CHILDREN, stage_index=0, stage_count=count, done=0, total=total, memory_mib=None
    )
    return True


def _settle_parent(child: Run) -> None:
    """When the last child has ended: publish the parent for the merge, or fail it where a child failed. The parent is
    locked, so that of two children that end at once the later one sees the other."""
    if child.parent_id is None:
        return
    parent = Run.with_children.select_for_update().get(pk=child.parent_id)
    children = list(ranges.children_of(parent))
    if not parent.waits_for_children or any(one.state in ranges.UNDER_WAY for one in children):
        return
    ranges.note_progress(parent.pk)
    if all(one.state == RunState.DONE for one in children):
        publish_on_commit(parent)
        return
    waiting = Run.with_children.filter(ranges.waiting_for_children(), pk=parent.pk)
    _end(waiting, parent.pk, state=RunState.FAILED, message=ranges.failure_of(children))


def hand_back_all() -> int:
    """Queue all running runs again after the only worker of an installation and its broker have ended; the next start
    publishes them. Returns how many."""
    running = Run.with_children.filter(state=RunState.RUNNING)
    return sum(_hand_back(Run.with_children.filter(pk=run.pk), run) for run in running)


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
            ended = Run.with_children.select_related("requested_by").get(pk=run_id)
            _settle_parent(ended)
            _release_siblings(ended)
            _fail_followers(ended)
            _mail_on_commit(ended)
    return bool(changed)


def _release_siblings(child: Run) -> None:
    """Those that wait for the features of a child that ended without result compute them by themselves."""
    siblings = Run.with_children.filter(after=child, parent__isnull=False, state=RunState.QUEUED)
    for sibling in siblings.order_by("pk"):
        Run.with_children.filter(pk=sibling.pk).update(after=None, queued_at=Now())
        publish_on_commit(sibling)


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
        _cancel_children(run)
        waiting = Run.objects.filter(pk=run.pk, state=RunState.QUEUED)
        if not _end(waiting, run.pk, state=RunState.CANCELLED):
            running = Run.objects.filter(pk=run.pk, state=RunState.RUNNING)
            if not running.update(cancel_requested=True):
                run.refresh_from_db()
                raise RunRefused(f"“{run.name}” is already {run.get_state_display().lower()}: nothing to cancel.")
        audit.record(verb="cancel run", site=run.site, actor=actor, target=run, before=before)
    run.refresh_from_db()
    return run


def _cancel_children(run: Run) -> None:
    """The queued ones end at once, the running ones when their supervisors notice."""
    children = ranges.children_of(run)
    children.filter(state=RunState.QUEUED).update(state=RunState.CANCELLED, finished_at=Now(), message="", detail="")
    children.filter(state=RunState.RUNNING).update(cancel_requested=True)


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
        used = Q(runs=run) | Q(splits=run.split_id) if run.split_id else Q(runs=run)
        if why := why_ended(Dataset.objects.filter(used).select_related("site")):
            raise RunRefused(why)
        before = {"state": run.state, "message": run.message}
        waits = _queue_children_again(run)
        ended = Run.objects.filter(pk=run.pk, state__in=[RunState.FAILED, RunState.CANCELLED])
        changed = ended.update(
            stage=CHILDREN if waits else "", stage_index=0, stage_count=0, done=0, total=0, started_at=None, **_AGAIN
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


def _queue_children_again(run: Run) -> bool:
    """Queue again the children whose results are missing. Whether the run has to wait for any."""
    children = ranges.children_of(run)
    if not run_bucket.has_folder(run):
        children.update(after=None)
        children.delete()  # the run begins anew
    if ranges.is_merged(run):
        return False
    for child in children.select_related("parent"):
        if child.state in ranges.ENDED_BADLY or (child.state == RunState.DONE and ranges.must_be_done_again(child)):
            children.filter(pk=child.pk).update(**_AGAIN)
            publish_on_commit(child)
    children.filter(state=RunState.RUNNING).update(cancel_requested=False)
    return children.exclude(state=RunState.DONE).exists()


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
    for run in Run.with_children.filter(lapsed):
        held = Run.with_children.filter(lapsed, pk=run.pk, lease_owner=run.lease_owner, attempt=run.attempt)
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
    waiting = Run.with_children.filter(_ready(), state=RunState.QUEUED).annotate(now=Now())
    published = 0
    for run in waiting.order_by("created_at"):
        if not _is_due(run, now=run.now):
            continue
        if not publish(run):  # the broker is down, and each try takes seconds: do not try the other runs
            break
        published += 1
    return published


def publish_all_waiting() -> None:
    """Publish every run that a worker may take, after the broker was emptied."""
    for run in Run.with_children.filter(_ready(), state=RunState.QUEUED).order_by("queued_at"):
        if not publish(run):
            break


def _is_due(run: Run, *, now: datetime) -> bool:
    published = run.published_at
    if published is None:  # never published, or just queued again: its own message may still be under way
        return now - run.created_at > timedelta(seconds=2)
    waited_before = (published - run.created_at).total_seconds()
    pause = min(max(PUBLISH_AGAIN_SECONDS, waited_before), PUBLISH_AGAIN_AT_MOST_SECONDS)
    return now - published > timedelta(seconds=pause)
