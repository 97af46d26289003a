"""Corrected exports: the films of a dataset that came again with another header, to be taken or dismissed."""

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Max
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.intake import corrections
from portal.intake.correction_rows import counts_of, rows_of, waiting_in
from portal.intake.header_facts import Fact
from portal.models import Dataset
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest

ROWS_A_PAGE = 100


@require_GET
def corrected(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The pending differences, old beside new; with `fact`, only those of that fact. Labels are not shown, and films
    have neutral names, since a file name may describe the findings."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = dataset.site
    counts = counts_of(dataset)
    fact = request.GET.get("fact", "")
    fact = fact if fact in counts else ""
    page = Paginator(waiting_in(dataset, fact), ROWS_A_PAGE).get_page(request.GET.get("page"))
    rows = rows_of(page.object_list)
    context = {
        "room": "data",
        "dataset": dataset,
        "counts": counts,
        "all": sum(counts.values()),
        "films": waiting_in(dataset).order_by().values("image").distinct().count(),
        "fact": fact,
        "page": page,
        "rows": rows,
        "moves": Fact.PATIENT in counts,
        "newest": waiting_in(dataset, fact).order_by().aggregate(newest=Max("pk"))["newest"] or 0,
    }
    return render(request, "portal/corrections.html", context)


@require_POST
def decide(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """`act` is take or dismiss, of the rows in `difference` (repeated), or take-all or dismiss-all, of all rows of
    `fact`, or of every fact without it, up to the row `newest`: those that came after the page was opened were not
    on it, and stay pending."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    require(request.user, "import films", dataset.site)
    act, fact = request.POST.get("act", ""), request.POST.get("fact", "")
    back = reverse("portal:corrections", args=[dataset.uuid]) + (f"?fact={fact}" if fact in list(Fact) else "")
    rows = waiting_in(dataset, fact)
    if act in ("take", "dismiss"):
        try:
            rows = waiting_in(dataset).filter(uuid__in=[UUID(text) for text in request.POST.getlist("difference")])
        except ValueError:
            messages.warning(request, "The identifier of a row is invalid; reload the page.")
            return redirect(back)
        if not request.POST.getlist("difference"):
            messages.warning(request, f"Nothing is chosen; choose the rows to {act}, or press the button for all.")
            return redirect(back)
    elif act not in ("take-all", "dismiss-all"):
        messages.warning(request, "It is not said what to do; press one of the buttons.")
        return redirect(back)
    elif not (newest := request.POST.get("newest", "")).isdecimal():
        messages.warning(request, "It is not said which rows the page showed; reload the page.")
        return redirect(back)
    else:
        rows = rows.filter(pk__lte=min(int(newest), 2**63 - 1))
    if act.startswith("take"):
        despite = "despite_splits" in request.POST
        sentences = corrections.take(rows, actor=request.user, despite_splits=despite).sentences("taken")
    else:
        sentences = corrections.dismiss(rows, actor=request.user).sentences("dismissed")
    for sentence in sentences:
        messages.info(request, sentence)
    return redirect(back)
