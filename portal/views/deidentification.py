"""What de-identification did in an import: the page of an upload, and its JSON and CSV."""

from uuid import UUID

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from portal.imaging.basic_profile import EDITION
from portal.imaging.handled_elements import ElementOutcome
from portal.intake.deidentified_batch import from_json, to_csv
from portal.models import Upload, User
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest

OTHERS_LISTED = 50
FORMATS = ("csv", "json")
_MEANINGS = {
    ElementOutcome.REMOVED: "Nothing of the value is kept.",
    ElementOutcome.CLEANED: "Reduced to a known word or to a coarser number.",
    ElementOutcome.REPLACED: "By a keyed hash, or by a day moved by a secret number of days.",
    ElementOutcome.KEPT: "As a number, one of the standard's terms, or the pixels.",
}


@require_GET
@accepts_query("file")
def deidentification(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The report as a page, or with `file` as a file."""
    upload = upload_of(request.user, uuid)
    request.hilum_site = upload.dataset.site
    if wanted := request.GET.get("file", ""):
        return report_file(upload, wanted)
    batch = from_json(upload.deidentification)
    context = {
        "room": "data",
        "upload": upload,
        "dataset": upload.dataset,
        "batch": batch,
        "files": sorted(batch.files.items()),
        "groups": [(outcome, _MEANINGS[outcome], batch.counted([outcome])) for outcome in ElementOutcome],
        "edition": EDITION,
        "others": upload.dataset.uploads.exclude(pk=upload.pk)[:OTHERS_LISTED],
    }
    return render(request, "portal/deidentification.html", context)


def upload_of(person: User, uuid: UUID) -> Upload:
    return get_visible(Upload.objects.select_related("dataset__site"), person, uuid)


def report_file(upload: Upload, wanted: str) -> HttpResponse:
    """The report as a file to keep; the API answers with it too."""
    if wanted not in FORMATS:
        sentence = f"The file is {wanted[:40]!r}; ask for csv or json."
        return HttpResponse(sentence, content_type="text/plain; charset=utf-8", status=400)
    response: HttpResponse
    if wanted == "csv":
        text = to_csv(from_json(upload.deidentification))
        response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    else:
        response = JsonResponse(from_json(upload.deidentification).to_json(), json_dumps_params={"indent": 2})
    name = f"hilum-deidentification-{upload.uuid}.{wanted}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
