"""The data of a split: Table 1, the flow from files to parts, and the sources of its labels."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.report.csv_tables import as_csv, sentences
from analysis.report.table_one_table import table_one_table
from analysis.sections.table_one import compared, differences_in_words, flow, in_words, table_one
from portal.models import Split, User
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest


@require_GET
def split_data(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    split = requested_split(request.user, uuid)
    request.hilum_site = split.site
    table = table_one(split)
    context = {
        "room": "data",
        "split": split,
        "table": table,
        "rows": in_words(table),
        "compared": compared(table),
        "differences": differences_in_words(table),
        "flow": flow(split),
    }
    return render(request, "analysis/split_data.html", context)


@require_GET
def table_one_csv(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    return table_one_file(requested_split(request.user, uuid))


def requested_split(user: User, uuid: UUID) -> Split:
    """The split, if the person may see its site. Raises Http404 and PermissionDenied."""
    split = get_visible(Split.objects.select_related("site"), user, uuid)
    require(user, "see the site", split.site)
    return split


def table_one_file(split: Split) -> HttpResponse:
    """Table 1 as CSV, as it is printed on the page."""
    text = as_csv(table_one_table(table_one(split)), notice=sentences(random_weights=False))
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="hilum-table-1-{split.uuid}.csv"'
    return response
