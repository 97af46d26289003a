"""Proposals for the next version of the normal set: the list, a proposal with its effect, the decision."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from analysis.evaluation.exposures import LABEL, SCORE, record_shown
from analysis.models import NormalProposal, Reading, Worklist
from analysis.reading import normal_proposals as proposals
from analysis.reading.normal_proposals import ProposalRefused
from analysis.reading.worklist_summary import require_summary
from portal.models import Image, Site, User
from portal.people.access import get_visible, may, require
from portal.people.blinding import omitted, refuse_file, withheld_images, without_withheld
from portal.people.signed_in import SignedInRequest


@require_GET
def normal_proposals(request: SignedInRequest) -> HttpResponse:
    site = _require(request.user, request.hilum_site)
    rows = NormalProposal.objects.filter(worklist__run__site=site).select_related(
        "worklist", "run", "proposed_by", "decision"
    )
    return render(request, "analysis/normal_proposals.html", {"room": "reading", "proposals": rows})


@require_GET
def normal_proposal(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    proposal = _proposal(request, uuid)
    request.hilum_site = proposal.worklist.run.site
    comparison, waiting = None, ""
    try:
        comparison = proposals.compare(proposal, viewer=request.user)
    except ProposalRefused as refusal:
        waiting = str(refusal)
    films = list(without_withheld(proposal.films.all(), request.user).order_by("pk"))
    _record(request.user, proposal, films, comparison)
    context = {
        "room": "reading",
        "proposal": proposal,
        "run": proposal.run,
        "films": films,
        "omitted": _omitted(request.user, proposal),
        "comparison": comparison,
        "lists": _lists(comparison),
        "waiting": waiting,
        "decision": getattr(proposal, "decision", None),
    }
    return render(request, "analysis/normal_proposal.html", context)


def _omitted(user: User, proposal: NormalProposal) -> str:
    """The films that are withheld from the person, of all those proposed or scored: how many of them are proposed or
    cross the threshold would reveal what was said about them."""
    return omitted(withheld_images(user).filter(_scored_or_proposed(proposal)).distinct().count())


def _scored_or_proposed(proposal: NormalProposal) -> Q:
    runs = [proposal.run_id, proposal.worklist.run_id]
    return Q(scores__run__in=runs) | Q(pk__in=proposal.films.values("pk"))


def _record(
    user: User, proposal: NormalProposal, films: list[Image], comparison: proposals.ProposalEffect | None
) -> None:
    """A proposed film was flagged, and its readers called it normal."""
    lists = [getattr(comparison, row["name"]) for row in _lists(comparison)]
    shown = [film.uuid for film in films] + [crossing.image.uuid for crossings in lists for crossing in crossings]
    record_shown(user, shown, [LABEL, SCORE], runs=[proposal.run.uuid, proposal.worklist.run.uuid])


def _lists(comparison: proposals.ProposalEffect | None) -> list[dict[str, Any]]:
    if comparison is None:
        return []
    words = {
        "vanished": ("Alarms that vanish", "flagged so far, labelled normal"),
        "lost": ("True positives that would be lost", "flagged so far, labelled abnormal"),
        "unflagged": ("No longer flagged, and not labelled normal or abnormal", ""),
        "appeared": ("Newly flagged", "by the threshold on the new scores"),
    }
    return [
        {
            "name": name,
            "title": title,
            "sub": sub,
            "films": getattr(comparison, name),
            "hidden": comparison.hidden[name],
            "count": len(getattr(comparison, name)) + comparison.hidden[name],
        }
        for name, (title, sub) in words.items()
    ]


@require_POST
def propose_normals(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Propose the films of the readings in `reading` (repeated), by default all that may be proposed."""
    rows = Worklist.objects.select_related("run__site", "run__detector__split", "run__detector__run")
    worklist = get_visible(rows, request.user, uuid)
    require(request.user, "propose normals", worklist.run.site)
    require_summary(request.user, worklist)
    # a refusal, and the page of a proposal, count films by reason: that one is not flagged, for example
    refuse_file(request.user, Image.objects.filter(scores__run=worklist.run), what=f"The run {worklist.run.name}")
    addresses = request.POST.getlist("reading")
    named = None
    if addresses:
        readings = Reading.objects.filter(item__worklist=worklist)
        named = [reading for reading in readings if str(reading.uuid) in addresses]
    try:
        proposal = proposals.propose(worklist=worklist, author=request.user, readings=named)
    except ProposalRefused as refusal:
        messages.warning(request, str(refusal))
        return redirect("analysis:worklist", worklist.uuid)
    return redirect("analysis:normal-proposal", proposal.uuid)


@require_POST
def decide(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Parameters: `decision` (accept or refuse), `reason`, and for accept the `name` of the new cohort."""
    proposal = _proposal(request, uuid)
    # not only while a proposed film is withheld: that a film is proposed tells that it was flagged and called normal
    films = Image.objects.filter(_scored_or_proposed(proposal)).distinct()
    refuse_file(request.user, films, what="The run of this proposal")
    reason = request.POST.get("reason", "")
    try:
        if request.POST.get("decision") == "accept":
            proposals.accept(proposal=proposal, author=request.user, name=request.POST.get("name", ""), reason=reason)
        else:
            proposals.refuse(proposal=proposal, author=request.user, reason=reason)
    except ProposalRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:normal-proposal", proposal.uuid)


def _proposal(request: SignedInRequest, uuid: UUID) -> NormalProposal:
    rows = NormalProposal.objects.select_related(
        "worklist__run__site", "worklist__run__detector", "run__site", "run__detector__split", "run__detector__run",
        "proposed_by", "decision__author", "decision__cohort",
    )  # fmt: skip
    proposal = get_visible(rows, request.user, uuid)
    _require(request.user, proposal.worklist.run.site)
    return proposal


def _require(user: User, site: Site | None) -> Site:
    """The site, for users who may propose or accept normals. Raises PermissionDenied."""
    if site is not None and may(user, "propose normals", site):
        return site
    try:
        return require(user, "accept normals", site)
    except PermissionDenied as refusal:
        raise PermissionDenied(str(refusal).replace("To accept normals", "To see proposed normals")) from refusal
