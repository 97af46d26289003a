"""The adjudication list of a site: films proposed from worklists, each with the adjudicator's own verdict first, then
the readings that led to the proposal, then the label that settles it."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from analysis.reading import adjudication_list
from analysis.reading.adjudication_list import AdjudicationRefused, ProposedFilm, patients_elsewhere
from analysis.views.reading import FINDINGS
from portal.labels.criteria import current_criteria
from portal.labels.events import InvalidLabel
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.labels.losses import losses_of, words_of
from portal.models import CurrentLabel, Image, NormalAttribute, Site, User
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, may, require
from portal.people.blinding import left_out, open_films, withheld_patients
from portal.people.signed_in import SignedInRequest
from portal.views.adjudication import change_of


@require_GET
@never_cache
def adjudications(request: SignedInRequest) -> HttpResponse:
    """The list. Opening it begins nothing, and films that are not settled have neutral names."""
    site = require(request.user, "see adjudications", request.hilum_site)
    person = request.user
    films = adjudication_list.proposed_films(site, person)
    patients = withheld_patients(person)
    last = open_films(person).filter(source=adjudication_list.source_of(site)).order_by("-expires_at").first()
    context = {
        "room": "reading",
        "rows": [
            {
                "film": film,
                "is_named": film.is_settled and film.image.patient_id not in patients,
                "leads_on": not film.is_settled and not film.refusal and bool(film.is_open or film.verdict),
            }
            for film in films
        ],
        "left": sum(not film.is_settled for film in films),
        "can_begin": any(film.can_begin and not film.is_open for film in films),
        "expires_at": last.expires_at if last else None,
        "days": adjudication_list.DAYS,
        "omitted": omitted_films(person, [site]),
    }
    return render(request, "analysis/adjudications.html", context)


def omitted_films(person: User, sites: Iterable[Site]) -> str:
    """That films which another list withholds from the person are left out; without a number, since that a film was
    proposed says something about its readings."""
    return left_out(person) if any(patients_elsewhere(site, person) for site in sites) else ""


@require_POST
def begin(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "adjudicate labels", request.hilum_site)
    try:
        adjudication_list.begin(site=site, person=request.user)
    except AdjudicationRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:adjudications")


@require_POST
def hand_back(request: SignedInRequest) -> HttpResponse:
    """Stop; own verdicts stay. Also for somebody who may not adjudicate any more."""
    site = require(request.user, "see the site", request.hilum_site)
    try:
        left = adjudication_list.hand_back(site=site, person=request.user)
    except AdjudicationRefused as refusal:
        messages.warning(request, str(refusal))
    else:
        messages.success(request, f"The list is handed back; films without your verdict: {left}. Your verdicts stay.")
    return redirect("analysis:adjudications" if may(request.user, "see adjudications", site) else "portal:home")


@require_GET
@never_cache
@accepts_query("renderer")
def film(request: SignedInRequest, image: UUID) -> HttpResponse:
    """A film of the list: the form of the own verdict, or the readings and the form that settles it."""
    of = film_at(request, image)
    site = of.dataset.site
    request.hilum_site = site
    row, waits, readings, label = None, "", [], None
    try:
        row = adjudication_list.film_for(image=of, person=request.user)
        if row.verdict:
            readings = adjudication_list.readings_to_settle(image=of, person=request.user)
            label = CurrentLabel.objects.filter(image=of).first()
    except AdjudicationRefused as refusal:
        waits = str(refusal)
    context = {
        "room": "reading",
        "film": of,
        "row": row,
        "waits": waits or (row.refusal if row else ""),
        "readings": readings,
        "label": label,
        "keys": {name: key for name, key in keys_in(Room.QUEUE, request.user).items() if key.value != "exclude"},
        "criteria": current_criteria(site),
        "attributes": list(enumerate(NormalAttribute.values, start=1)),
        **_ticked(site, row, readings, label),
    }
    return render(request, "analysis/adjudicate_film.html", context)


def _ticked(site: Site, row: ProposedFilm | None, readings: list[Any], label: CurrentLabel | None) -> dict[str, Any]:
    """The findings of the form, and what is ticked: the own verdict's, and those of a label of the same value, which
    would be lost otherwise."""
    verdict = row.verdict if row else None
    ticked, attributes = set(verdict.findings if verdict else ()), list(verdict.attributes if verdict else ())
    others = ticked | {finding for reading in readings for finding in reading.findings}
    others |= set(label.findings) if label else set()
    if verdict and label and label.value == verdict.value:
        ticked |= set(label.findings)
        attributes += label.attributes
    offered = site.findings or FINDINGS
    findings = [*offered, *sorted(others - set(offered))]
    return {"findings": list(enumerate(findings, start=1)), "ticked": ticked, "ticked_attributes": attributes}


@require_POST
def verdict(request: SignedInRequest, image: UUID) -> HttpResponse:
    """Store the own verdict: `value`, `finding` and `attribute` (repeated), `comment`."""
    of = film_at(request, image)
    try:
        adjudication_list.give_verdict(image=of, change=change_of(request), person=request.user)
    except (AdjudicationRefused, InvalidLabel) as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:adjudicate-proposed", image)


@require_POST
def settle(request: SignedInRequest, image: UUID) -> HttpResponse:
    """Settle the film with the same fields, and show the next one that the person has begun."""
    of = film_at(request, image)
    try:
        settled = adjudication_list.settle(image=of, change=change_of(request), person=request.user)
    except (AdjudicationRefused, InvalidLabel) as refusal:
        messages.warning(request, str(refusal))
        return redirect("analysis:adjudicate-proposed", image)
    lost = words_of(list(losses_of(settled.label_event.batch).values()))
    messages.success(request, f"{of.neutral_name.capitalize()} is settled. {lost}".strip())
    rows = adjudication_list.proposed_films(of.dataset.site, request.user)
    following = next((row.image for row in rows if row.is_open and not row.is_settled), None)
    if following is None:
        return redirect("analysis:adjudications")
    return redirect("analysis:adjudicate-proposed", following.uuid)


def film_at(request: SignedInRequest, uuid: UUID) -> Image:
    """A film of a site where the person adjudicates. Raises PermissionDenied before it is said whether it is on the
    list, and Http404."""
    films = Image.objects.select_related("dataset__site", "patient")
    image = get_visible(films, request.user, uuid)
    require(request.user, "adjudicate labels", image.dataset.site)
    return image
