"""Proposals for the next version of the normal set: the list, a proposal with its effect, the decision."""

from dataclasses import dataclass
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
    proposal = get_proposal(request.user, uuid)
    request.hilum_site = proposal.worklist.run.site
    shown = show_proposal(proposal, request.user)
    context = {
        "room": "reading",
        "proposal": proposal,
        "run": proposal.run,
        "films": shown.films,
        "omitted": shown.omitted,
        "comparison": shown.effect,
        "lists": _lists(shown.effect),
        "waiting": shown.waiting,
        "decision": getattr(proposal, "decision", None),
    }
    return render(request, "analysis/normal_proposal.html", context)


@dataclass(frozen=True)
class ShownProposal:
    """What a person may see of a proposal: `waiting` says why there is no effect yet."""

    films: list[Image]
    omitted: str
    effect: proposals.ProposalEffect | None
    waiting: str


def show_proposal(proposal: NormalProposal, viewer: User) -> ShownProposal:
    """Without the films that the viewer has yet to read blinded; records that the others were shown."""
    effect, waiting = None, ""
    try:
        effect = proposals.compare(proposal, viewer=viewer)
    except ProposalRefused as refusal:
        waiting = str(refusal)
    films = list(without_withheld(proposal.films.all(), viewer).order_by("pk"))
    _record(viewer, proposal, films, effect)
    return ShownProposal(films, _omitted(viewer, proposal), effect, waiting)


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
    worklist = worklist_to_propose_from(request.user, uuid)
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


def worklist_to_propose_from(user: User, uuid: UUID) -> Worklist:
    """Raises Http404, and PermissionDenied for a person who may not propose normals or reads films of the run."""
    rows = Worklist.objects.select_related("run__site", "run__detector__split", "run__detector__run")
    worklist = get_visible(rows, user, uuid)
    require(user, "propose normals", worklist.run.site)
    require_summary(user, worklist)
    # a refusal, and the page of a proposal, count films by reason: that one is not flagged, for example
    refuse_file(user, Image.objects.filter(scores__run=worklist.run), what=f"The run {worklist.run.name}")
    return worklist


@require_POST
def decide(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Parameters: `decision` (accept or refuse), `reason`, and for accept the `name` of the new cohort."""
    proposal = proposal_to_decide(request.user, uuid)
    reason = request.POST.get("reason", "")
    try:
        if request.POST.get("decision") == "accept":
            proposals.accept(proposal=proposal, author=request.user, name=request.POST.get("name", ""), reason=reason)
        else:
            proposals.refuse(proposal=proposal, author=request.user, reason=reason)
    except ProposalRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:normal-proposal", proposal.uuid)


def proposal_to_decide(user: User, uuid: UUID) -> NormalProposal:
    proposal = get_proposal(user, uuid)
    require(user, "accept normals", proposal.worklist.run.site)
    # not only while a proposed film is withheld: that a film is proposed tells that it was flagged and called normal
    films = Image.objects.filter(_scored_or_proposed(proposal)).distinct()
    refuse_file(user, films, what="The run of this proposal")
    return proposal


def get_proposal(user: User, uuid: UUID) -> NormalProposal:
    rows = NormalProposal.objects.select_related(
        "worklist__run__site", "worklist__run__detector", "run__site", "run__detector__split", "run__detector__run",
        "proposed_by", "decision__author", "decision__cohort",
    )  # fmt: skip
    proposal = get_visible(rows, user, uuid)
    _require(user, proposal.worklist.run.site)
    return proposal


def _require(user: User, site: Site | None) -> Site:
    """The site, for users who may propose or accept normals. Raises PermissionDenied."""
    if site is not None and may(user, "propose normals", site):
        return site
    try:
        return require(user, "accept normals", site)
    except PermissionDenied as refusal:
        raise PermissionDenied(str(refusal).replace("To accept normals", "To see proposed normals")) from refusal
