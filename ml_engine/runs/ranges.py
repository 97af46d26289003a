"""The children of a run in ranges of its films or cells: which there are, how far they are, how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from ml_engine.core.version import code_version
from ml_engine.engine import shards
from ml_engine.engine.run_kinds import KINDS
from ml_engine.engine.shards import LAST
from ml_engine.models import CHILDREN, Run, RunKind, RunState
from ml_engine.runs import paths, run_bucket

UNDER_WAY = (RunState.QUEUED, RunState.RUNNING)
ENDED_BADLY = (RunState.FAILED, RunState.CANCELLED)


def children_of(run: Run) -> QuerySet[Run]:
    return Run.with_children.filter(parent=run).order_by("first_row")


def words(child: Run) -> str:
    """ "films 1 to 100", counted from 1."""
    assert child.first_row is not None and child.end_row is not None  # constraint run_child_has_rows
    return words_of(child.kind, child.first_row, child.end_row)


def words_of(kind: str, first: int, end: int) -> str:
    """ "films 1 to 100", "detector 3", counted from 1."""
    noun = KINDS[RunKind(kind)].divided_by
    return f"{noun} {first + 1} to {end}" if end > first + 1 else f"{noun.removesuffix('s')} {end}"


def all_done() -> Q:
    """Runs without a child that is not done."""
    unfinished = Run.with_children.filter(parent__isnull=False).exclude(state=RunState.DONE)
    return ~Q(pk__in=unfinished.values("parent"))


def waiting_for_children() -> Q:
    return Q(state=RunState.QUEUED, stage=CHILDREN)


def must_be_done_again(child: Run) -> bool:
    """Whether what the child has done is gone, or was done by another version than would merge it."""
    assert child.parent is not None and child.first_row is not None and child.end_row is not None  # constraint
    if run_bucket.is_used() and child.kept:
        return bool(child.versions.get("hilum") != code_version())
    folder = shards.folder_of(paths.run_folder(child.parent.uuid), child.first_row, child.end_row)
    if not shards.is_finished(folder):
        return True
    request, _ = shards.request_of(folder)
    return bool(request.get("code_version") != code_version())


def is_merged(run: Run) -> bool:
    return (paths.run_folder(run.uuid) / "stages" / f"{LAST}.json").is_file()


# Progress ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChildProgress:
    """``count`` films or cells; ``share`` of its work that is done, 0 to 1; ``seconds`` since it began;
    ``seconds_left`` if that is known."""

    count: int
    state: str
    share: float
    seconds: float
    seconds_left: float | None


def note_progress(parent_id: int) -> None:
    """Store in the waiting parent how far its children are."""
    children = Run.with_children.filter(parent_id=parent_id)
    facts = [_progress_of(child) for child in children.order_by("first_row")]
    done = [child for child in facts if child.state == RunState.DONE]
    Run.with_children.filter(waiting_for_children(), pk=parent_id).update(
        stage_index=len(done),
        stage_count=len(facts),
        done=round(sum(child.count * child.share for child in facts)),
        total=sum(child.count for child in facts),
        run_seconds_left=seconds_left(facts),
        heartbeat_at=Now(),
    )


def _progress_of(child: Run) -> ChildProgress:
    assert child.first_row is not None and child.end_row is not None  # constraint run_child_has_rows
    until = child.finished_at if child.has_ended else child.heartbeat_at
    return ChildProgress(
        count=child.end_row - child.first_row,
        state=child.state,
        share=share(child),
        seconds=_seconds(child.started_at, until),
        seconds_left=child.run_seconds_left if child.state == RunState.RUNNING else None,
    )


def share(child: Run) -> float:
    """How much of the child's work is done, 0 to 1, if all its stages took equally long. A stage of a study has steps
    that count anew each, so only its end is known."""
    if child.state != RunState.RUNNING or not child.stage_count:
        return float(child.state == RunState.DONE)
    if child.facts.is_study:
        return child.stage_index / child.stage_count
    within = min(1.0, child.done / child.total) if child.total else 0.0
    return (child.stage_index + within) / child.stage_count


def _seconds(since: datetime | None, until: datetime | None) -> float:
    return max(0.0, (until - since).total_seconds()) if since and until else 0.0


def seconds_left(children: Sequence[ChildProgress]) -> float | None:
    """Until all children are done, if as many work at once as now. None while nothing is known of their speed."""
    running = [child for child in children if child.state == RunState.RUNNING]
    queued = sum(child.count for child in children if child.state == RunState.QUEUED)
    known = [(child.count, child.seconds) for child in children if child.state == RunState.DONE]
    known += [(child.count, child.seconds + child.seconds_left) for child in running if child.seconds_left is not None]
    total = sum(count for count, _ in known)
    if not total:
        return None
    of_one = sum(seconds for _, seconds in known) / total
    left = [
        of_one * child.count * (1 - child.share) if child.seconds_left is None else child.seconds_left
        for child in running
    ]
    return max([(sum(left) + queued * of_one) / max(1, len(running)), *left])


# How they ended ------------------------------------------------------------------------------------


def failure_of(children: Sequence[Run]) -> str:
    """The sentence on the run whose children have all ended, of which some badly."""
    bad = [child for child in children if child.state in ENDED_BADLY]
    first, others = bad[0], len(bad) - 1
    reason = first.message if first.state == RunState.FAILED else "the range was cancelled."
    also = f" Nor could {others} other range{'' if others == 1 else 's'}." if others else ""
    kept, verb = len(children) - len(bad), shards.verb(first.kind)
    return (
        f"{words(first).capitalize()} could not be {verb}d: {reason}{also} {kept} of {len(children)} ranges "
        f"{'is' if kept == 1 else 'are'} {verb}d and kept: a retry {verb}s only the others."
    )
