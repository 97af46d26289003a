"""What is retired at a site, and the page on which a dataset, run or worklist is retired or brought back."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from portal.models import Retired
from portal.people.access import require
from portal.people.signed_in import SignedInRequest
from portal.retention.retiring import LONGEST_REASON, CannotRetire, bring_back, page_of, plan_of, target_of
from portal.retention.retiring import retire as retire_row


@require_GET
def retired(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "retire data", request.hilum_site)
    rows = list(Retired.objects.filter(site=site).select_related("author"))
    context = {"room": "data", "rows": [(row, page_of(row.kind)) for row in rows]}
    return render(request, "portal/retired.html", context)


@require_http_methods(["GET", "POST"])
def retire(request: SignedInRequest, kind: str, uuid: UUID) -> HttpResponse:
    """What retiring means, and doing it; for what is retired, bringing it back."""
    target = target_of(kind, uuid, request.user)
    plan = plan_of(target)
    request.hilum_site = plan.site
    fault = ""
    if request.method == "POST":
        act = retire_row if request.POST.get("act") == "retire" else bring_back
        try:
            act(target=target, reason=request.POST.get("reason", ""), author=request.user)
        except CannotRetire as refusal:
            fault = str(refusal)
        else:
            return redirect("portal:retired")
    context = {
        "room": "data",
        "plan": plan,
        "fault": fault,
        "reason": request.POST.get("reason", ""),
        "longest_reason": LONGEST_REASON,
    }
    return render(request, "portal/retire.html", context, status=400 if fault else 200)
