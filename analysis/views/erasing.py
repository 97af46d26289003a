"""Erase a patient: what it means, a form, and what remains of those who were erased."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from analysis.evaluation.erasing import LONGEST_REASON, CannotErase, erase_patient, plan_erasure, require_manager
from ml_engine.models import WithdrawnModel
from ml_engine.runs import erased_films
from portal.models import Erasure, Patient
from portal.people.access import get_visible, may, require
from portal.people.signed_in import SignedInRequest


@require_http_methods(["GET", "POST"])
def erase(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    patient = get_visible(Patient.objects.select_related("site"), request.user, uuid)
    require_manager(request.user, patient)
    request.hilum_site = patient.site
    plan = plan_erasure(patient)
    fault = ""
    if request.method == "POST":
        try:
            erasure = erase_patient(
                patient=patient,
                reason=request.POST.get("reason", ""),
                confirmation=request.POST.get("confirm", ""),
                actor=request.user,
            )
        except CannotErase as refusal:
            fault = str(refusal)
        else:
            if "fit_again" in request.POST:
                for sentence in erased_films.fit_again(erasure, request.user):
                    messages.warning(request, sentence)
            return redirect("analysis:erasures")
    context = {
        "room": "data",
        "plan": plan,
        "fault": fault,
        "reason": request.POST.get("reason", ""),
        "longest_reason": LONGEST_REASON,
        "may_fit": may(request.user, "request runs", patient.site),
    }
    return render(request, "analysis/erase_patient.html", context, status=400 if fault else 200)


@require_GET
def erasures(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "erase patients", request.hilum_site)
    rows = Erasure.objects.filter(site=site).select_related("requested_by", "patient")
    withdrawn = WithdrawnModel.objects.filter(erasure__site=site).select_related(
        "alignment__run", "detector__run", "head__run", "fitted_again"
    )
    return render(request, "analysis/erasures.html", {"room": "data", "rows": rows, "withdrawn": withdrawn})
