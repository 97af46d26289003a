from uuid import UUID

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from portal.forms import SplitForm
from portal.models import Cohort, Dataset, Part, Site, Split, User
from portal.people.access import get_visible, require, visible
from portal.people.retired import without_retired
from portal.people.signed_in import SignedInRequest
from portal.sets.film_copies import divided_films, divided_note, unjudged_in_two_parts
from portal.sets.film_pairs import unjudged_at
from portal.sets.moved_films import moved_films
from portal.sets.parts_csv import file_name, has_own_names, parts_csv_for
from portal.sets.patient_draw import FilmNumbers
from portal.sets.promised_rate import promised_alarms
from portal.sets.splits import InvalidSplit, SplitRequest, draw_split, split_by_numbers, split_from_csv

EXAMPLES = (19, 39, 99, 199)  # numbers of calibration patients


@require_GET
def splits(request: SignedInRequest) -> HttpResponse:
    of_site = list(Split.objects.filter(site=request.hilum_site).prefetch_related("datasets"))
    divided = divided_films(of_site)
    for split in of_site:
        split.divided = divided.get(split.pk, 0)  # type: ignore[attr-defined]
    return render(request, "portal/splits.html", {"room": "data", "splits": of_site, "part_names": Part.values})


@require_http_methods(["GET", "POST"])
def new_split(request: SignedInRequest) -> HttpResponse:
    named = {kind: request.GET.getlist(kind) for kind in ("dataset", "cohort")}
    site = require(request.user, "make splits", _site_of(request, **named) or request.hilum_site)
    request.hilum_site = site
    form = SplitForm(
        request.POST or None,
        datasets=without_retired(Dataset.objects.filter(site=site)),
        cohorts=Cohort.objects.filter(site=site),
        initial={"datasets": named["dataset"], "cohorts": named["cohort"]},
    )
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("portal:split", make_split(request.user, site, form).uuid)
        except InvalidSplit as error:
            form.add_error(None, str(error))
    context = {
        "room": "data",
        "form": form,
        "promises": [promised_alarms(patients) for patients in EXAMPLES],
        "unjudged_pairs": unjudged_at(site),
    }
    return render(request, "portal/new_split.html", context, status=400 if form.errors else 200)


def _site_of(request: SignedInRequest, *, dataset: list[str], cohort: list[str]) -> Site | None:
    """The site of the dataset or cohort whose page led here, which may not be the site chosen in the navigation bar."""
    try:
        datasets, cohorts = ([UUID(text) for text in texts] for texts in (dataset, cohort))
    except ValueError:
        return None
    of_dataset = visible(Dataset.objects.select_related("site"), request.user).filter(uuid__in=datasets).first()
    of_cohort = visible(Cohort.objects.select_related("site"), request.user).filter(uuid__in=cohorts).first()
    named = of_dataset or of_cohort
    return named.site if named else None


def make_split(author: User, site: Site, form: SplitForm) -> Split:
    """From a valid form. Raises InvalidSplit."""
    data = form.cleaned_data
    split_request = SplitRequest(
        site=site,
        name=data["name"],
        datasets=list(data["datasets"]),
        cohorts=list(data["cohorts"]),
        seed=data["seed"],
        author=author,
        view_position=data["view_position"],
        fit_on_nothing=data["fit_on_nothing"],
        mined_in_test=data["mined_in_test"],
    )
    if data["origin"] == "paper":
        return split_by_numbers(split_request, numbers=FilmNumbers())
    if data["origin"] == "csv":
        return split_from_csv(split_request, train_is_fit=data["train_is_fit"])
    return draw_split(split_request, fractions=form.fractions())


@require_GET
def split(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    split = get_visible(
        Split.objects.select_related("site", "created_by").prefetch_related("datasets", "cohorts"), request.user, uuid
    )
    request.hilum_site = split.site
    patients = dict(split.members.order_by().values_list("part").annotate(Count("pk")))
    parts = split.counts["parts"]  # in the order of Part: a database may order the keys of JSON otherwise
    rows = [
        {"part": part, "label": part.label, "patients": patients.get(part, 0), **parts[part]}
        for part in Part
        if part in parts
    ]
    context = {
        "room": "data",
        "split": split,
        "rows": rows,
        "promised": promised_alarms(patients.get(Part.CALIBRATE, 0)),
        "moved": moved_films(split),
        "divided": divided_note(split),
        "unjudged_in_two_parts": unjudged_in_two_parts(split),
        "has_own_names": has_own_names(split),
        "unidentified": split.members.filter(patient__identified=False).count(),
    }
    return render(request, "portal/split.html", context)


@require_GET
def parts(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    return parts_response(request.user, uuid)


def parts_response(person: User, uuid: UUID) -> HttpResponse:
    """The parts as a CSV for the command line; the API answers with it too."""
    split = get_visible(Split.objects.all(), person, uuid)
    response = HttpResponse(parts_csv_for(person, split), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name(split)}"'
    return response
