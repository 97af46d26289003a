"""Studies of a PACS: searched by day, modality and patient, chosen, and imported in the background."""

from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from portal.dicomweb.client import PacsError, StudyQuery
from portal.dicomweb.pacs_imports import (
    FoundStudies,
    InvalidPacsRequest,
    begin_import,
    search,
    target_named,
    targets_of,
)
from portal.imaging.deidentify import RADIOGRAPH_MODALITIES
from portal.models import Dataset
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest


@require_http_methods(["GET", "POST"])
def pacs(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The form, and the studies that were found. A POST, so that no address or log holds a patient's identifier."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = dataset.site
    require(request.user, "import films", dataset.site)
    answer: FoundStudies | None = None
    fault = ""
    if request.method == "POST":
        try:
            target = target_named(request.POST.get("pacs", ""), dataset.site)
            answer = search(target=target, query=_query(request.POST), site=dataset.site, author=request.user)
        except (InvalidPacsRequest, PacsError) as error:
            fault = str(error)
    context = {
        "room": "data",
        "dataset": dataset,
        "targets": targets_of(dataset.site),
        "modalities": sorted(RADIOGRAPH_MODALITIES),
        "asked": request.POST if request.method == "POST" else _suggestion(),
        "answer": answer,
        "fault": fault,
    }
    return render(request, "portal/pacs.html", context, status=400 if fault else 200)


def _suggestion() -> dict[str, str]:
    """The last week, so that a search without a thought is not one of everything."""
    today = timezone.now().date()
    return {"first_day": str(today - timedelta(days=7)), "last_day": str(today)}


def _query(sent: QueryDict) -> StudyQuery:
    query = StudyQuery(modality=sent.get("modality", ""), patient_id=sent.get("patient_id", "").strip())
    return replace(query, first_day=_day(sent.get("first_day", "")), last_day=_day(sent.get("last_day", "")))


def _day(text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidPacsRequest(
            f"The day is {text[:40]!r}; write it as year, month and day, such as 2026-11-29."
        ) from None


@require_POST
def import_from_pacs(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    require(request.user, "import films", dataset.site)
    try:
        target = target_named(request.POST.get("pacs", ""), dataset.site)
        begin_import(dataset=dataset, target=target, studies=request.POST.getlist("study"), author=request.user)
    except InvalidPacsRequest as error:
        messages.warning(request, str(error))
        return redirect("portal:pacs", dataset.uuid)
    return redirect("portal:dataset", dataset.uuid)
