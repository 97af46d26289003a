"""From a dataset to its evaluation in one request: the imports end, a split is frozen, an alignment, a detector and a
scoring run are executed, and the scores are evaluated.

The row holds what is done so far, and `advance` does the next step that can be done. It is called when the request is
made and every few seconds by a worker, so that a restart loses nothing.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.looks import CannotEvaluate
from analysis.models import SetEvaluation
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.models import Run, RunState
from ml_engine.runs import lifecycle
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, check_can_run, request_chain
from portal.models import Dataset, Part, Split, Upload, User
from portal.people import audit, blinding
from portal.people.access import require
from portal.sets.splits import ALL_FRONTAL, DEFAULT_FRACTIONS, InvalidSplit, SplitRequest, draw_split, split_from_csv

logger = logging.getLogger(__name__)

ACTIONS = ("make splits", "request runs", "evaluate runs")  # what the author may do, each in its step
SEED = 0
CLAIM = timedelta(minutes=2)  # longer than a step takes; a process that was killed meanwhile delays it by this
PENDING = (Upload.State.RECEIVED, Upload.State.MAPPING, Upload.State.IMPORTING)
LONGEST_NAME = 80
REFUSALS = (InvalidSplit, RunRefused, CannotEvaluate, EngineError, PermissionDenied)


class CannotEvaluateSet(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class SetRequest:
    """``opens_test``: test is scored and evaluated too, which is a counted look at it."""

    dataset: Dataset
    name: str
    author: User
    config: PipelineConfig
    aligned: bool = True
    opens_test: bool = True


def parts_scored(*, opens_test: bool) -> list[str]:
    return [Part.TUNE, Part.CALIBRATE, *([Part.TEST] if opens_test else [])]


def start(request: SetRequest) -> SetEvaluation:
    """Store the request and do what can be done at once: freeze the split and queue the runs, unless an import is still
    running. Raises CannotEvaluateSet, and PermissionDenied; then nothing is stored."""
    site = request.dataset.site
    for action in ACTIONS:
        require(request.author, action, site)
    # the split is refused to such an author; with an import still running that would be found out only later
    blinding.refuse_file(request.author, request.dataset.images.all(), what="The split")
    name = request.name.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise CannotEvaluateSet(f"The name has {len(name)} characters: enter 1 to {LONGEST_NAME}.")
    if Split.objects.filter(site=site, name=name).exists() or _unfrozen(request.dataset).filter(name=name).exists():
        raise CannotEvaluateSet(f"A split named {name!r} already exists at {site.name}; choose another name.")
    is_importing = pending_imports(request.dataset).exists()
    if not is_importing and not request.dataset.images.exists():
        raise CannotEvaluateSet(f"The dataset {request.dataset.name!r} has no film: import some first.")
    try:
        check_can_run(request.config, aligned=request.aligned)
        with transaction.atomic():
            row = SetEvaluation.objects.create(
                dataset=request.dataset,
                name=name,
                author=request.author,
                config=request.config.to_json(),
                aligned=request.aligned,
                opens_test=request.opens_test,
            )
            after = {"name": name, "opens_test": row.opens_test, "aligned": row.aligned, "config": row.config}
            audit.record(verb="request evaluation of set", site=site, actor=row.author, target=row, after=after)
            if not is_importing:
                _freeze_and_queue(row)
    except (InvalidSplit, RunRefused, CannotEvaluate, EngineError) as refusal:
        raise CannotEvaluateSet(str(refusal)) from refusal
    return row


def _unfrozen(dataset: Dataset) -> QuerySet[SetEvaluation]:
    return SetEvaluation.objects.filter(dataset__site=dataset.site, split=None, message="")


def pending_imports(dataset: Dataset) -> QuerySet[Upload]:
    return dataset.uploads.filter(state__in=PENDING)


def rows() -> QuerySet[SetEvaluation]:
    """All, with what their progress names."""
    related = ("dataset__site", "author", "split", "evaluation", "score__after__after", "score__site")
    return SetEvaluation.objects.select_related(*related)


def runs_of(row: SetEvaluation) -> list[Run]:
    """Its runs in the order in which they are executed; empty until they are requested."""
    chain: list[Run] = []
    run = row.score
    while run is not None:
        chain.insert(0, run)
        run = run.after
    return chain


def names_parts(dataset: Dataset) -> bool:
    """Whether the imported table names the parts of the split."""
    return dataset.images.filter(csv_split__in=[*Part.values, "train"]).exists()


# The steps -----------------------------------------------------------------------------------------


def due() -> QuerySet[SetEvaluation]:
    """Those whose next step is not a run, and that no process works on."""
    is_free = Q(claimed_until=None) | Q(claimed_until__lt=timezone.now())
    waits = Q(score=None) | Q(score__state=RunState.DONE)
    return SetEvaluation.objects.filter(is_free, waits, evaluation=None, message="").order_by("pk")


def advance(uuid: UUID) -> None:
    """Do the next step of this evaluation, if it is one that can be done now. Running it twice at once is harmless."""
    if not due().filter(uuid=uuid).update(claimed_until=timezone.now() + CLAIM):
        return
    row = SetEvaluation.objects.select_related("dataset__site", "author", "score__site", "score__split").get(uuid=uuid)
    message = ""
    try:
        _do_next(row)
    except REFUSALS as refusal:
        message = str(refusal)
    except Exception:
        logger.exception("evaluation of a set %s failed", uuid)
        message = (
            f"Internal error, reference {uuid}. Try once more; if it happens again, give the reference to your "
            "administrator."
        )
    SetEvaluation.objects.filter(pk=row.pk).update(claimed_until=None, message=message)


def _do_next(row: SetEvaluation) -> None:
    if row.score is not None:
        row.evaluation = evaluate(run=row.score, author=row.author)
        row.save(update_fields=["evaluation"])
    elif not pending_imports(row.dataset).exists():
        _refuse_failed_import(row)
        with transaction.atomic():
            _freeze_and_queue(row)


def _refuse_failed_import(row: SetEvaluation) -> None:
    newest = row.dataset.uploads.first()
    if newest and newest.state == Upload.State.FAILED and newest.finished_at and newest.finished_at > row.created_at:
        raise CannotEvaluate(f"The import failed: {newest.message} Import the films again, then try again here.")


def _freeze_and_queue(row: SetEvaluation) -> None:
    """Raises InvalidSplit, RunRefused and CannotEvaluate."""
    request = SplitRequest(
        site=row.dataset.site,
        name=row.name,
        datasets=[row.dataset],
        seed=SEED,
        author=row.author,
        view_position=ALL_FRONTAL,
    )
    if names_parts(row.dataset):
        row.split = split_from_csv(request)
    else:
        row.split = draw_split(request, fractions=DEFAULT_FRACTIONS)
    parts = _parts_with_films(row.split, parts_scored(opens_test=row.opens_test))
    chain = request_chain(
        RunRequest(site=row.dataset.site, name=row.name, requested_by=row.author),
        split=row.split,
        config=PipelineConfig.from_json(row.config),
        aligned=row.aligned,
        parts=parts,
    )
    row.score = chain.score
    row.save(update_fields=["split", "score"])


def _parts_with_films(split: Split, wanted: list[str]) -> list[str]:
    there = set(split.members.filter(images__isnull=False).values_list("part", flat=True))
    parts = [part for part in wanted if part in there]
    if not there & set(wanted) & {Part.TUNE, Part.TEST}:
        asked = "tune or test" if Part.TEST in wanted else "tune"
        raise CannotEvaluate(
            f"No film would be in {asked}, where scores are compared with labels: label more films normal and "
            "abnormal, or correct the column 'split' of the table."
        )
    return parts


def try_again(*, row: SetEvaluation, actor: User) -> None:
    """Go on after a failure: retry the runs that failed or were cancelled, in their order, or do the refused step
    again. Raises RunRefused, and PermissionDenied."""
    require(actor, "request runs", row.dataset.site)
    with transaction.atomic():
        for run in runs_of(row):
            if run.state in (RunState.FAILED, RunState.CANCELLED):
                if run.after is not None:
                    run.after.refresh_from_db()
                lifecycle.retry(run=run, actor=actor)
        SetEvaluation.objects.filter(pk=row.pk).update(message="")
