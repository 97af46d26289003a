"""Search by name over what the site has: datasets, splits, cohorts, queues, runs, and films by file name or address."""

import re
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from ml_engine.models import Run
from portal.models import Cohort, Dataset, Image, ScreeningQueue, Site, Split, User
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import require
from portal.people.signed_in import SignedInRequest

LEAST = 2  # characters
SHOWN = 20  # of each kind
NAMED: tuple[tuple[str, Any, str], ...] = (
    ("Datasets", Dataset, "portal:dataset"),
    ("Runs", Run, "ml_engine:run"),
    ("Splits", Split, "portal:split"),
    ("Cohorts", Cohort, "portal:cohort"),
    ("Queues", ScreeningQueue, "portal:queue"),
)


@require_GET
@accepts_query("q")
def search(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "see the site", request.hilum_site)
    text = request.GET.get("q", "").strip()[:100]
    groups = []
    if len(text) >= LEAST:
        groups = [
            (title, _linked(model.objects.filter(site=site, name__icontains=text), page))
            for title, model, page in NAMED
        ]
        groups.append(("Films", _linked(_films(site, text, request.user), "portal:image")))
    context = {
        "text": text,
        "least": LEAST,
        "groups": [(title, rows[:SHOWN], len(rows) > SHOWN) for title, rows in groups if rows],
        "left_out": blinding.left_out(request.user),
    }
    return render(request, "analysis/search.html", context)


def _linked(rows: QuerySet[Any], page: str) -> list[tuple[str, str]]:
    """(what the row is called, its address), the newest first."""
    return [(str(row), reverse(page, args=[row.uuid])) for row in rows.order_by("-pk")[: SHOWN + 1]]


def _films(site: Site, text: str, person: User) -> QuerySet[Image]:
    """The films with this in the name of their file, or whose address begins with it; without those that the person has
    yet to read blinded, and others of these patients."""
    films = blinding.without_withheld(Image.objects.filter(dataset__site=site), person)
    address = text.lower().removeprefix("film ")
    if re.fullmatch(r"[0-9a-f]{8}[0-9a-f-]*", address):
        return films.filter(uuid__startswith=address.replace("-", "")) | films.filter(uuid__startswith=address)
    return films.filter(original_name__icontains=text)
