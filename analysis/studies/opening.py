"""Opening the test part of a study: one counted look for each study, since its results do not change."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from analysis.evaluation.looks import CannotEvaluate, ResultsGone, look
from analysis.models import TestLook
from ml_engine.engine.run_kinds import KINDS
from ml_engine.models import STUDIES, Run, RunKind, RunState
from portal.models import Part, Site, Split, User
from portal.people.access import require

REASONS = {
    RunKind.ABLATION: "ablation opened",
    RunKind.SWEEP: "test of a sweep opened",
    RunKind.BANK_STUDY: "bank study opened",
    RunKind.BLIND_SPOTS: "blind spots on test opened",
}


@dataclass(frozen=True)
class FinishedStudy:
    run: Run
    is_open: bool


def split_of(run: Run) -> Split:
    assert run.split is not None  # constraint run_fit_has_split
    return run.split


def part_of(run: Run) -> str:
    """The part that a study evaluates: test, unless blind spots were run on another part. A sweep also evaluates tune,
    which needs no look."""
    return str(run.parts[0]) if run.kind == RunKind.BLIND_SPOTS and run.parts else Part.TEST.value


def is_open(run: Run) -> bool:
    """Whether results on `part_of` may be shown: always for another part than test, for test after a look."""
    return part_of(run) != Part.TEST or TestLook.objects.filter(run=run).exists()


def check_done(run: Run) -> None:
    """Raises CannotEvaluate for a study that has no results yet."""
    if run.state != RunState.DONE:
        raise CannotEvaluate(
            f"The run {run.name!r} is {run.get_state_display().lower()}: its results appear when it is done."
        )


def open_test(*, run: Run, author: User) -> None:
    """Count a look at test for this study, unless it is open already. Raises CannotEvaluate, PermissionDenied."""
    require(author, "evaluate runs", run.site)
    check_done(run)
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=run.pk)  # two simultaneous requests count as one look
        if not is_open(run):
            look(split=split_of(run), author=author, reason=REASONS[RunKind(run.kind)], run=run)


def finished_studies(site: Site) -> list[FinishedStudy]:
    """The finished studies of a site, newest first."""
    kinds = [kind for kind in STUDIES if KINDS[kind].page]
    runs = Run.objects.filter(site=site, kind__in=kinds, state=RunState.DONE).select_related("split")
    looked_at = set(TestLook.objects.filter(run__in=runs).values_list("run_id", flat=True))
    return [FinishedStudy(run, part_of(run) != Part.TEST or run.pk in looked_at) for run in runs]


def results_gone(run: Run) -> ResultsGone:
    return ResultsGone(
        f"The results of the run {run.name!r} are not in the data folder any more: clone the run and run it again."
    )
