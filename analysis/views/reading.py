"""The reader's pages: the worklists, the reading page, the heatmap on request."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from analysis.models import Escalation, HeadProposal, Reading, Reason, Worklist, WorklistItem, WorklistReader
from analysis.reading import verdicts
from analysis.reading.adjudication_list import patients_elsewhere, waiting_proposals
from analysis.reading.assignments import require_reader, shown_to
from analysis.reading.reader_studies import ReadingTask, readings_needed, tasks_of, why_session_waits
from analysis.reading.verdicts import ReadingRefused
from analysis.reading.worklists import WorklistRefused, begin, begun_by, hand_back, in_order
from analysis.views import film
from portal.labels.criteria import current_criteria
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.people.accepted_query import accepts_query
from portal.people.access import actions_of, get_visible, require, sites_where
from portal.people.blinding import refuse_withheld, without_withheld
from portal.people.retired import without_retired
from portal.people.signed_in import SignedInRequest

FINDINGS = [
    "nodule or mass",
    "consolidation",
    "atelectasis",
    "pleural effusion",
    "pneumothorax",
    "cardiomegaly",
    "interstitial change",
    "emphysema",
    "fibrosis",
    "hilar enlargement",
    "fracture",
    "device",
]
_ROOM = {"read worklists", "make worklists", "answer escalations", "accept normals", "see adjudications"}


@require_GET
def worklists(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "see the site", request.hilum_site)
    allowed = actions_of(request.user, site)
    if not allowed & _ROOM:
        require(request.user, "read worklists", site)
    of_site = without_retired(Worklist.objects.filter(run__site=site))
    rows = of_site.select_related("run", "created_by").prefetch_related("assignments")
    rows = shown_to(rows, request.user, makes=sites_where(request.user, "make worklists"))
    own = Q(items__readings__reader=request.user, items__readings__replaced_by__isnull=True)
    lists: list[Any] = list(
        rows.annotate(
            films=Count("items", filter=Q(items__repeat=0), distinct=True),
            repeats=Count("items", filter=Q(items__repeat__gt=0), distinct=True),
            own=Count("items__readings", filter=own, distinct=True),
        )
    )
    for row in lists:
        row.needed = readings_needed(row.films, row.repeats) if row.design else row.films
        assigned = {assignment.reader_id for assignment in row.assignments.all()}
        row.assigned = len(assigned)
        row.is_mine = not assigned or request.user.pk in assigned
    escalations = Escalation.objects.filter(image__dataset__site=site, answer__isnull=True)
    proposals, elsewhere = waiting_proposals(site), patients_elsewhere(site, request.user)
    context = {
        "room": "reading",
        "worklists": lists,
        "open_escalations": without_withheld(escalations, request.user, film="image").count()
        if "answer escalations" in allowed
        else None,
        "heads_waiting": HeadProposal.objects.filter(worklist__run__site=site, decision__isnull=True).count()
        if "request runs" in allowed
        else 0,
        "to_adjudicate": proposals.exclude(reading__image__patient__in=elsewhere).count()
        if "see adjudications" in allowed
        else None,
    }
    return render(request, "analysis/worklists.html", context)


@require_GET
@accepts_query("renderer")
def read(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The reading page: one film at a time, in the reader's own order. It does not reveal which films are flagged. For
    those who are not reading the worklist, the page on which they begin."""
    worklist = get_visible(Worklist.objects.select_related("run__site"), request.user, uuid)
    request.hilum_site = worklist.run.site
    require_reader(worklist, request.user)
    begun = begun_by(worklist, request.user)
    if begun is not None:
        begun.worklist = worklist
    waits = why_session_waits(begun) if begun is not None else ""
    if begun is None or waits:
        films = worklist.items.filter(repeat=0).count()
        context = {
            "room": "reading",
            "worklist": worklist,
            "films": films,
            "read": _own(worklist, request).count(),
            "needed": readings_needed(films, worklist.items.filter(repeat__gt=0).count()),
            "waits": waits,
        }
        return render(request, "analysis/begin_worklist.html", context)
    tasks = tasks_of(begun) if worklist.design else [ReadingTask(item, ()) for item in in_order(begun)]
    context = {
        "room": "reading",
        "worklist": worklist,
        "count": len(tasks),
        "first": _first_unread(tasks, begun).image,
        "reasons": Reason.choices,
        "findings": FINDINGS,
        "criteria": current_criteria(worklist.run.site),
        "addresses": _addresses(worklist),
        "keys": keys_in(Room.READING, request.user),
    }
    return render(request, "analysis/reading.html", context)


@require_POST
def begin_worklist(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    worklist = get_visible(Worklist.objects.select_related("run__site"), request.user, uuid)
    try:
        begin(worklist=worklist, reader=request.user)
    except WorklistRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:read", worklist.uuid)


def _first_unread(tasks: Sequence[ReadingTask], begun: WorklistReader) -> WorklistItem:
    own = Reading.objects.filter(item__worklist_id=begun.worklist_id, reader_id=begun.reader_id)
    read = set(own.values_list("item_id", "stage"))
    unread = (task.item for task in tasks if any((task.item.pk, stage) not in read for stage in task.stages or ("",)))
    return next(unread, tasks[0].item)


@require_POST
def hand_back_worklist(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Stop reading; readings made so far stay."""
    worklist = get_visible(Worklist.objects.select_related("run__site"), request.user, uuid)
    require(request.user, "read worklists", worklist.run.site)
    try:
        left = hand_back(worklist=worklist, reader=request.user)
    except WorklistRefused as refusal:
        messages.warning(request, str(refusal))
    else:
        films = "1 film" if left == 1 else f"{left} films"
        messages.success(request, f"{worklist.name} is handed back with {films} unread. Your readings stay.")
    return redirect("analysis:worklists")


def _own(worklist: Worklist, request: SignedInRequest) -> QuerySet[Reading]:
    return Reading.objects.filter(item__worklist=worklist, reader=request.user, replaced_by__isnull=True)


def _addresses(worklist: Worklist) -> dict[str, str]:
    """URL patterns that the page completes: it replaces the nil UUID by that of a film or an item."""
    nil = UUID(int=0)
    return {
        "items": reverse("api-worklist-items", args=[worklist.uuid]),
        "readings": reverse("api-readings", args=[worklist.uuid]),
        "escalations": reverse("api-escalate", args=[worklist.uuid]),
        "facts": reverse("portal:image-facts", args=[nil]),
        "pixels": reverse("portal:image-pixels", args=[nil]),
        "beside": reverse("portal:image-beside", args=[nil]),
        **({} if worklist.blinded else {"heatmap": reverse("analysis:item-overlay", args=[worklist.uuid, nil])}),
        **(_study_addresses(worklist) if worklist.design else {}),
    }


def _study_addresses(worklist: Worklist) -> dict[str, str]:
    nil = UUID(int=0)
    return {
        "reveal": reverse("api-reveal-item", args=[worklist.uuid, nil]),
        "revealed": reverse("analysis:revealed-overlay", args=[worklist.uuid, nil]),
    }


@require_GET
def item_overlay(request: SignedInRequest, uuid: UUID, item_uuid: UUID) -> HttpResponse:
    """The heatmap of an item. Recorded before it is sent, and not at all if there is none to send."""
    worklist = get_visible(Worklist.objects.select_related("run__site"), request.user, uuid)
    require(request.user, "read worklists", worklist.run.site)
    items = WorklistItem.objects.select_related("image", "worklist__run__site")
    item = items.filter(worklist=worklist, uuid=item_uuid).first()
    if item is None:
        raise Http404("The worklist has no such film.")
    if not worklist.blinded:  # the film may be on another worklist, which the reader reads blinded
        refuse_withheld(request.user, item.image)
    with transaction.atomic():
        try:
            verdicts.show_heatmap(item=item, reader=request.user)
        except ReadingRefused as refusal:
            return JsonResponse({"error": str(refusal)}, status=403)
        response = film.overlay(request, worklist.run.uuid, item.image.uuid)
        if response.status_code != 200:
            transaction.set_rollback(True)
    return response
