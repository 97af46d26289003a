"""At the end of a worklist a reader proposes that the model learns what was confirmed; an analyst or manager starts it.

The one who starts chooses the run's settings on its form; here are the defaults, with the reads of worklists.
"""

from dataclasses import dataclass

from django.db import IntegrityError, transaction

from analysis.models import (
    FlaggedBy,
    HeadDecision,
    HeadProposal,
    Reading,
    ScoreKind,
    Worklist,
    WorklistReader,
)
from analysis.reading.assignments import require_reader
from analysis.reading.worklists import unread
from ml_engine.engine.study_plans import HeadPlan
from ml_engine.models import Run
from ml_engine.runs.head_requests import request_head
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import User
from portal.people import audit
from portal.people.access import require


class TeachingRefused(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class OwnResult:
    """A reader's last reading of a film, and which score had flagged it, in words."""

    reading: Reading
    flagged: str


def left_to_read(worklist: Worklist, reader: User) -> int:
    """The number of films of the worklist that the reader has not read; all of them before they begin."""
    begun = WorklistReader.objects.filter(worklist=worklist, reader=reader).first()
    if begun is None:
        return worklist.items.count()
    begun.worklist = worklist
    return len(unread(begun))


def require_finished(worklist: Worklist, reader: User) -> None:
    """Raises TeachingRefused until the reader has read all films of the worklist: before, they must not learn which
    ones were flagged."""
    require_reader(worklist, reader)
    left = left_to_read(worklist, reader)
    if left:
        raise TeachingRefused(
            f"You have {left} film{'' if left == 1 else 's'} of this worklist left to read: which score flagged each "
            "film is shown at the end."
        )


def own_results(worklist: Worklist, reader: User) -> list[OwnResult]:
    """The reader's current readings, by time, with who flagged each film. Check `require_finished` first."""
    rows = Reading.objects.filter(item__worklist=worklist, item__repeat=0, reader=reader, replaced_by__isnull=True)
    last = {row.image_id: row for row in rows.select_related("item", "image").order_by("created_at", "pk")}
    return [OwnResult(row, flagged_words(worklist, row)) for row in last.values()]


def flagged_words(worklist: Worklist, reading: Reading) -> str:
    item = reading.item
    assert item is not None
    if item.flagged_by:
        return f"flagged by {FlaggedBy(item.flagged_by).label}"
    if not item.flagged:
        return "not flagged"
    one_class = worklist.score == ScoreKind.ONE_CLASS
    return "flagged by the one-class score" if one_class else "flagged by the semi-supervised score"


def propose(*, worklist: Worklist, reader: User) -> HeadProposal:
    """Propose a run on the reads of the worklist. Raises TeachingRefused."""
    require_finished(worklist, reader)
    with transaction.atomic():
        Worklist.objects.select_for_update(no_key=True).get(pk=worklist.pk)  # two at once make one proposal
        if HeadProposal.objects.filter(worklist=worklist, decision__isnull=True).exists():
            raise TeachingRefused("This is proposed already, and waits for an analyst or manager to start it.")
        proposal = HeadProposal.objects.create(worklist=worklist, proposed_by=reader)
        audit.record(verb="propose head", site=worklist.run.site, actor=reader, target=proposal)
    return proposal


def start(*, proposal: HeadProposal, author: User) -> Run:
    """Request the run with default settings. Raises TeachingRefused, and PermissionDenied while the author has yet to
    read one of the scored films blinded."""
    worklist = proposal.worklist
    site = require(author, "request runs", worklist.run.site)
    _check_open(proposal)
    request = RunRequest(site=site, name=f"{worklist.name[:80]}: head", requested_by=author)
    try:
        with transaction.atomic():
            run = request_head(request, scored=worklist.run, plan=HeadPlan())
            HeadDecision.objects.create(proposal=proposal, run=run, author=author)
            audit.record(verb="start head", site=site, actor=author, target=proposal, after={"run": str(run.uuid)})
    except RunRefused as refusal:
        raise TeachingRefused(str(refusal)) from refusal
    except IntegrityError as error:
        raise TeachingRefused(_DECIDED) from error
    return run


def refuse(*, proposal: HeadProposal, author: User, reason: str) -> HeadDecision:
    """Raises TeachingRefused."""
    site = require(author, "request runs", proposal.worklist.run.site)
    _check_open(proposal)
    words = reason.strip()
    if not 1 <= len(words) <= 500 or "\0" in words:
        raise TeachingRefused(f"Write why the run is not started, in 1 to 500 characters; there are {len(words)}.")
    try:
        with transaction.atomic():
            decision = HeadDecision.objects.create(proposal=proposal, author=author, reason=words)
            audit.record(verb="refuse head", site=site, actor=author, target=proposal, reason=words)
    except IntegrityError as error:
        raise TeachingRefused(_DECIDED) from error
    return decision


_DECIDED = "This proposal has been decided already; load the page again."


def _check_open(proposal: HeadProposal) -> None:
    if HeadDecision.objects.filter(proposal=proposal).exists():
        raise TeachingRefused(_DECIDED)
