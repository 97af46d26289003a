"""Quarantine of a dataset: why files did not become films, what they show, trying them again, deleting them."""

from collections.abc import Iterator
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from portal.intake import quarantine as files_of
from portal.intake.import_plans import ImportPlan, PlanKind
from portal.intake.planned_imports import begin_planned
from portal.intake.quarantine import NotInQuarantine
from portal.models import Dataset, QuarantinedFile, Upload
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest

ROWS_A_PAGE = 50


@require_GET
def quarantine(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The files, with their reasons; `import` and `reason` narrow the list."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = dataset.site
    everything = dataset.quarantined.all()
    uploads = Upload.objects.filter(quarantined__dataset=dataset).annotate(files=Count("quarantined"))
    reasons = everything.order_by().values_list("reason").annotate(files=Count("pk")).order_by("reason")
    chosen = next((upload for upload in uploads if str(upload.uuid) == request.GET.get("import")), None)
    reason = request.GET.get("reason", "")
    reason = reason if reason in dict(reasons) else ""
    files = everything.filter(upload=chosen) if chosen else everything
    files = files.filter(reason=reason) if reason else files
    page = Paginator(files.select_related("upload__uploaded_by"), ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "room": "data",
        "dataset": dataset,
        "page": page,
        "rows": files_of.rows_of(page.object_list, request.user, dataset.site),
        "uploads": uploads.select_related("uploaded_by"),
        "chosen": chosen,
        "reasons": [(name, name.replace("_", " "), count) for name, count in reasons],
        "reason": reason,
        "query": urlencode({"import": chosen.uuid if chosen else "", "reason": reason}) if chosen or reason else "",
        "kept": files_of.kept_in(dataset).count(),
        "is_closed": files_of.is_closed_to(request.user, dataset.site),
    }
    return render(request, "portal/quarantine.html", context)


@require_POST
def try_again(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Import the chosen files again, or with `all` every file that is kept."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    require(request.user, "import films", dataset.site)
    kept = files_of.kept_in(dataset)
    chosen = kept if "all" in request.POST else kept.filter(uuid__in=_chosen(request))
    items = [str(uuid) for uuid in chosen.values_list("uuid", flat=True)]
    if not items:
        messages.warning(
            request, "None of the chosen files is kept, so there is nothing to try again; import them again."
        )
        return redirect("portal:quarantine", dataset.uuid)
    plan = ImportPlan(PlanKind.QUARANTINE, items)
    begin_planned(dataset=dataset, plan=plan, verb="try quarantined files again", author=request.user)
    return redirect("portal:dataset", dataset.uuid)


@require_POST
def delete(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    require(request.user, "import films", dataset.site)
    chosen: QuerySet[QuarantinedFile] = dataset.quarantined.filter(uuid__in=_chosen(request))
    if not chosen.exists():
        messages.warning(request, "No file is chosen; choose those to delete.")
        return redirect("portal:quarantine", dataset.uuid)
    try:
        count = files_of.delete_files(
            chosen, dataset=dataset, reason=request.POST.get("reason", ""), author=request.user
        )
    except NotInQuarantine as error:
        messages.warning(request, str(error))
    else:
        messages.info(request, f"{count} file{'s' if count != 1 else ''} deleted.")
    return redirect("portal:quarantine", dataset.uuid)


def _chosen(request: SignedInRequest) -> list[UUID]:
    chosen = []
    for text in request.POST.getlist("file"):
        try:
            chosen.append(UUID(text))
        except ValueError:
            raise Http404("No such file.") from None
    return chosen


@require_GET
def download(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    """The file as it was sent, identifiers included, under a name made of its hash."""
    file = _file(request, uuid)
    try:
        return sent_as_is(file, files_of.open_kept(file, request.user))
    except NotInQuarantine as error:
        messages.warning(request, str(error))
        return redirect("portal:quarantine", file.dataset.uuid)


def sent_as_is(file: QuarantinedFile, pieces: Iterator[bytes]) -> StreamingHttpResponse:
    """Never shown by the browser: the bytes may be a page with scripts."""
    headers = {
        "Content-Disposition": f'attachment; filename="{file.source_sha256[:16]}"',
        "Content-Length": str(file.bytes_kept),
    }
    return StreamingHttpResponse(pieces, content_type="application/octet-stream", headers=headers)


@require_GET
def preview(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    try:
        return HttpResponse(files_of.preview_of(_file(request, uuid), request.user), content_type="image/jpeg")
    except NotInQuarantine as error:
        raise Http404(str(error)) from error


def _file(request: SignedInRequest, uuid: UUID) -> QuarantinedFile:
    return get_visible(QuarantinedFile.objects.select_related("dataset__site", "upload"), request.user, uuid)
