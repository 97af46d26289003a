"""The honest broker's pages: films that need action outside research."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from analysis.evaluation.exposures import LABEL, record_shown
from analysis.models import Escalation
from analysis.reading import verdicts
from analysis.reading.verdicts import ReadingRefused
from portal.people.access import get_visible, require
from portal.people.blinding import left_out, refuse_withheld, without_withheld
from portal.people.signed_in import SignedInRequest


@require_GET
def escalations(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "answer escalations", request.hilum_site)
    everything = Escalation.objects.filter(image__dataset__site=site)
    rows = list(
        without_withheld(everything, request.user, film="image").select_related(
            "image__patient", "image__dataset", "reader", "answer__broker"
        )
    )
    record_shown(request.user, [row.image.uuid for row in rows], [LABEL])
    context = {
        "room": "reading",
        "omitted": left_out(request.user),  # without a number: that a film was escalated says something about it
        "waiting": [row for row in rows if not hasattr(row, "answer")],
        "answered": [row for row in rows if hasattr(row, "answer")],
    }
    return render(request, "analysis/escalations.html", context)


@require_POST
def answer(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    escalation = get_visible(Escalation.objects.select_related("image__dataset__site"), request.user, uuid)
    refuse_withheld(request.user, escalation.image)
    try:
        verdicts.answer_escalation(escalation=escalation, broker=request.user, action=request.POST.get("action", ""))
    except ReadingRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:escalations")
