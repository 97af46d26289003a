"""The page about a dataset: where it comes from, under which approval, and until when it may be used."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.models import Dataset
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest
from portal.sets.approvals import FACTS, InvalidDatasetFact, approval_of, change_facts

LABELS = {
    "source": "Source",
    "licence": "Licence",
    "ethics_approval": "Ethics approval",
    "purpose": "Purpose",
    "expires_on": "Last day of the approval",
}
HINTS = {
    "ethics_approval": "The committee and its number, such as IRB 2026-0412.",
    "purpose": "What the films may be used for.",
    "expires_on": "Year, month and day, such as 2027-01-31. After it no run, worklist or split starts; empty: no end.",
}


@require_http_methods(["GET", "POST"])
def about(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    dataset = get_visible(Dataset.objects.select_related("site", "created_by"), request.user, uuid)
    request.hilum_site = dataset.site
    values = {name: str(getattr(dataset, name) or "") for name in FACTS}
    fault = ""
    if request.method == "POST":
        require(request.user, "edit datasets", dataset.site)
        sent = {name: request.POST[name] for name in FACTS if name in request.POST}
        try:
            changed = change_facts(dataset=dataset, facts=sent, author=request.user)
        except InvalidDatasetFact as error:
            fault, values = str(error), values | sent
        else:
            words = ", ".join(LABELS[name].lower() for name in changed)
            messages.info(request, f"Changed: {words}." if changed else "Nothing was changed.")
            return redirect("portal:about-dataset", dataset.uuid)
    fields = [(name, LABELS[name], values[name], HINTS.get(name, "")) for name in FACTS]
    context = {
        "room": "data",
        "dataset": dataset,
        "fields": fields,
        "fault": fault,
        "approval": approval_of(dataset),
    }
    return render(request, "portal/about_dataset.html", context, status=400 if fault else 200)
