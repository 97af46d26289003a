"""The end of a worklist for its reader, and proposals that the model learns what was confirmed."""

from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from analysis.evaluation.blinding import hidden_films
from analysis.evaluation.exposures import SCORE, record_shown
from analysis.models import HeadProposal, Worklist
from analysis.reading import head_proposals as teaching
from analysis.reading.head_proposals import OwnResult, TeachingRefused
from portal.models import Part, User
from portal.people.access import get_visible, require
from portal.people.blinding import left_out, withheld_patients
from portal.people.signed_in import SignedInRequest


@require_GET
def worklist_end(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The reader's verdicts with the score that had flagged each film, once all are in; and the act that proposes a
    run. Films whose scores are hidden from the reader elsewhere are left out."""
    worklist = get_visible(worklists_to_end(), request.user, uuid)
    request.hilum_site = worklist.run.site
    try:
        teaching.require_finished(worklist, request.user)
    except TeachingRefused as refusal:
        messages.warning(request, str(refusal))
        return redirect("analysis:read", worklist.uuid)
    results = own_results_shown(worklist, request.user)
    context = {
        "room": "reading",
        "worklist": worklist,
        "run": worklist.run,
        "results": results,
        "left_out": left_out(request.user),
        "is_proposed": HeadProposal.objects.filter(worklist=worklist, decision__isnull=True).exists(),
    }
    return render(request, "analysis/worklist_end.html", context)


def own_results_shown(worklist: Worklist, reader: User) -> list[OwnResult]:
    """The reader's verdicts with who flagged each film, without the films whose scores are hidden from them elsewhere;
    records that they were shown. Check `require_finished` first."""
    withheld = withheld_patients(reader)
    hidden = {film for part in Part.values for film in hidden_films(reader, worklist.run, part=part)}
    results = [
        result
        for result in teaching.own_results(worklist, reader)
        if result.reading.image.patient_id not in withheld and str(result.reading.image.uuid) not in hidden
    ]
    shown = [result.reading.image.uuid for result in results]
    record_shown(reader, shown, [SCORE], runs=[worklist.run.uuid])
    return results


@require_POST
def propose_head(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    worklist = get_visible(worklists_to_end(), request.user, uuid)
    try:
        teaching.propose(worklist=worklist, reader=request.user)
    except TeachingRefused as refusal:
        messages.warning(request, str(refusal))
    else:
        messages.success(request, "Proposed. An analyst or manager starts the run.")
    return redirect("analysis:worklist-end", worklist.uuid)


@require_GET
def head_proposals(request: SignedInRequest) -> HttpResponse:
    """The proposals of the site, newest first."""
    site = require(request.user, "request runs", request.hilum_site)
    rows = HeadProposal.objects.filter(worklist__run__site=site).select_related(
        "worklist__run", "proposed_by", "decision__run", "decision__author"
    )
    return render(request, "analysis/head_proposals.html", {"room": "reading", "proposals": rows})


@require_POST
def decide_head(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Parameters: `decision` (start or refuse), and for refuse the `reason`."""
    proposal = head_proposal_to_decide(request.user, uuid)
    try:
        if request.POST.get("decision") == "start":
            run = teaching.start(proposal=proposal, author=request.user)
            return redirect("ml_engine:run", run.uuid)
        teaching.refuse(proposal=proposal, author=request.user, reason=request.POST.get("reason", ""))
    except TeachingRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:head-proposals")


def worklists_to_end() -> QuerySet[Worklist]:
    return Worklist.objects.select_related("run__site", "run__detector__split")


def head_proposal_to_decide(user: User, uuid: UUID) -> HeadProposal:
    rows = HeadProposal.objects.select_related(
        "worklist__run__site", "worklist__run__detector__split", "worklist__run__detector__run"
    )
    proposal = get_visible(rows, user, uuid)
    require(user, "request runs", proposal.worklist.run.site)
    return proposal
