"""The data of a split: Table 1, the flow from files to parts, and the sources of its labels."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.sections.table_one import COMPARED_WITH, flow, in_words, table_one
from portal.models import Split
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest


@require_GET
def split_data(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    split = get_visible(Split.objects.select_related("site"), request.user, uuid)
    require(request.user, "see the site", split.site)
    table = table_one(split)
    rows = in_words(table)
    context = {
        "room": "data",
        "split": split,
        "table": table,
        "rows": [(name, texts, zip(table.columns, differences, strict=True)) for name, texts, differences in rows],
        "flow": flow(split),
        "compared_with": COMPARED_WITH,
    }
    return render(request, "analysis/split_data.html", context)
