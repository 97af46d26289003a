"""Search over what the site has, by names, words and addresses: grouped, with numbers, and only what the person may
see. Of a film that they have yet to read blinded, and of others of its patient, nothing is found or counted."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from analysis.models import Worklist
from analysis.reading.assignments import shown_to
from ml_engine.models import Run
from portal.grid.tags import tags_by_dataset
from portal.models import (
    Cohort,
    CurrentLabel,
    Dataset,
    FilmTag,
    FilmView,
    Image,
    Patient,
    ScreeningQueue,
    Site,
    Split,
    User,
)
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import actions_of, require, sites_where
from portal.people.signed_in import SignedInRequest

LEAST = 2  # characters
SHOWN = 20  # of each kind
MOST_COUNTED = 1000
_ADDRESS = re.compile(r"[0-9a-f]{8}[0-9a-f-]*")
_PSEUDONYM = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Hit:
    name: str
    address: str


@dataclass(frozen=True)
class Hits:
    """What is of one kind: the first of it, and how many there are."""

    kind: str
    hits: tuple[Hit, ...]
    count: int

    @property
    def number(self) -> str:
        return f"{MOST_COUNTED:,} or more" if self.count >= MOST_COUNTED else f"{self.count:,}"

    @property
    def left(self) -> int:
        return self.count - len(self.hits)


@require_GET
@accepts_query("q")
def search(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "see the site", request.hilum_site)
    text = request.GET.get("q", "").strip()[:100]
    context = {
        "text": text,
        "least": LEAST,
        "groups": groups_of(site, text, request.user),
        "left_out": blinding.left_out(request.user),
    }
    return render(request, "analysis/search.html", context)


def groups_of(site: Site, text: str, person: User) -> list[Hits]:
    """What is found of each kind, without kinds of which nothing is; empty for a text that is too short."""
    text = text.replace("\0", "")
    if len(text) < LEAST:
        return []
    rows = {kind: of_kind(site, text, person) for kind, of_kind in _KINDS.items()}
    return [hits for kind, find in rows.items() for hits in [find(kind)] if hits.count]


Find = Callable[[str], Hits]


def _rows(rows: QuerySet[Any], page: str, name: Callable[[Any], str] = str) -> Find:
    """The newest of the rows, each with its page."""

    def find(kind: str) -> Hits:
        newest = list(rows.order_by("-pk")[: SHOWN + 1])
        count = len(newest) if len(newest) <= SHOWN else rows.order_by()[:MOST_COUNTED].count()
        hits = (Hit(name(row), reverse(page, args=[row.uuid])) for row in newest[:SHOWN])
        return Hits(kind, tuple(hits), count)

    return find


def _listed(hits: list[Hit]) -> Find:
    return lambda kind: Hits(kind, tuple(hits[:SHOWN]), len(hits))


def _named(model: Any, page: str) -> Callable[[Site, str, User], Find]:
    return lambda site, text, person: _rows(model.objects.filter(site=site, name__icontains=text), page)


def _runs(site: Site, text: str, person: User) -> Find:
    """By name, note and tags."""
    runs = Run.objects.filter(site=site).annotate(tag_words=Cast("tags", TextField()))
    asked = Q(name__icontains=text) | Q(note__icontains=text) | Q(tag_words__icontains=text)
    return _rows(runs.filter(asked), "ml_engine:run")


def _worklists(site: Site, text: str, person: User) -> Find:
    rows = Worklist.objects.filter(run__site=site, name__icontains=text)
    allowed = actions_of(person, site)
    if not allowed & {"read worklists", "make worklists"}:
        rows = rows.none()
    page = "analysis:read" if "read worklists" in allowed else "analysis:worklist"
    return _rows(shown_to(rows, person, makes=sites_where(person, "make worklists")), page, lambda row: row.name)


def _films(site: Site, text: str, person: User) -> Find:
    """The films with this in the name of their file, or whose address begins with it."""
    films = blinding.without_withheld(Image.objects.filter(dataset__site=site), person)
    address = text.lower().removeprefix("film ")
    if _ADDRESS.fullmatch(address):
        by_address = films.filter(uuid__startswith=address.replace("-", "")) | films.filter(uuid__startswith=address)
        films = by_address if by_address.exists() else films.filter(original_name__icontains=text)
    else:
        films = films.filter(original_name__icontains=text)
    return _rows(films, "portal:image")


def _patients(site: Site, text: str, person: User) -> Find:
    """Patients by the beginning of their pseudonym. Their newest film leads to the others."""
    begins = text.lower().removeprefix("patient ")
    if not _PSEUDONYM.fullmatch(begins):
        return _listed([])
    patients = Patient.objects.filter(site=site, pseudonym__startswith=begins)
    patients = patients.exclude(pk__in=blinding.withheld_patients(person)).annotate(films=Count("images"))
    hits = []
    for patient in patients.filter(films__gt=0).order_by("pseudonym")[:SHOWN]:
        newest = patient.images.order_by("-pk").first()
        assert newest is not None
        films = f"{patient.films} film{'' if patient.films == 1 else 's'}"
        hits.append(Hit(f"patient {patient} ({films})", reverse("portal:image", args=[newest.uuid])))
    return _listed(hits)


def _findings(site: Site, text: str, person: User) -> Find:
    """Findings of current labels by dataset, as in the lists of the grids."""
    labels = CurrentLabel.objects.filter(dataset__site=site, finding_words__icontains=text).order_by()
    labels = blinding.without_withheld(labels, person, film="image")
    films: dict[tuple[int, str], int] = {}
    for dataset_id, words, count in labels.values_list("dataset", "finding_words").annotate(films=Count("*")):
        for finding in words.strip("|").split("|"):
            if text.lower() in finding.lower():
                films[dataset_id, finding] = films.get((dataset_id, finding), 0) + count
    return _listed(_in_grids(site, [(pk, finding, n, "finding") for (pk, finding), n in films.items()]))


def _tags(site: Site, text: str, person: User) -> Find:
    """Tags with their films by dataset; one that no film has leads to the list."""
    of_datasets = tags_by_dataset(site, without=blinding.withheld_patients(person))
    counted, without_films = [], []
    for tag in FilmTag.objects.filter(site=site, name__icontains=text):
        there = of_datasets.get(tag.pk, [])
        counted += [(dataset.pk, tag.name, films, "tag") for dataset, films in there]
        without_films += [] if there else [Hit(f"{tag.name}: no film", reverse("portal:tags"))]
    return _listed([*_in_grids(site, counted), *without_films])


def _in_grids(site: Site, counted: list[tuple[int, str, int, str]]) -> list[Hit]:
    """(dataset, value, number of films, filter) as links to the grid with the filter, most films first."""
    datasets = {dataset.pk: dataset for dataset in Dataset.objects.filter(site=site)} if counted else {}
    hits = []
    for pk, value, films, name in sorted(counted, key=lambda one: (-one[2], one[1], one[0])):
        address = f"{reverse('portal:dataset', args=[datasets[pk].uuid])}?{urlencode({name: value})}"
        hits.append(Hit(f"{value}: {films:,} film{'' if films == 1 else 's'} of {datasets[pk]}", address))
    return hits


def _views(site: Site, text: str, person: User) -> Find:
    seen = Q(owner_id=person.pk) | Q(is_shared=True)
    views = FilmView.objects.filter(seen, dataset__site=site, name__icontains=text).select_related("dataset")
    hits = [
        Hit(
            f"{view.name} of {view.dataset}", f"{reverse('portal:dataset', args=[view.dataset.uuid])}?saved={view.uuid}"
        )
        for view in views[:MOST_COUNTED]
    ]
    return _listed(hits)


_KINDS: dict[str, Callable[[Site, str, User], Find]] = {
    "Datasets": _named(Dataset, "portal:dataset"),
    "Films": _films,
    "Patients": _patients,
    "Findings": _findings,
    "Tags": _tags,
    "Views": _views,
    "Runs": _runs,
    "Worklists": _worklists,
    "Splits": _named(Split, "portal:split"),
    "Cohorts": _named(Cohort, "portal:cohort"),
    "Queues": _named(ScreeningQueue, "portal:queue"),
}
