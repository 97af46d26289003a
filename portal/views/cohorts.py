"""Cohorts: the list, a cohort with its films, its differences from an earlier version, and freezing the grid."""

from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import F
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.models import Cohort, Dataset, Exposure, Image
from portal.people import blinding
from portal.people.access import get_visible, people_who_may
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest
from portal.sets import film_filters
from portal.sets.cohorts import InvalidCohort, diff, freeze_cohort, images_of, leave_out
from portal.views.frame import error_page
from portal.views.grid_choice import chosen_films

COHORTS_A_PAGE = 50
FILMS_A_PAGE = 60


@require_GET
def cohort_list(request: SignedInRequest) -> HttpResponse:
    cohorts = Cohort.objects.filter(site=request.hilum_site).select_related("created_by")
    page = Paginator(cohorts, COHORTS_A_PAGE).get_page(request.GET.get("page"))
    page.object_list = list(page.object_list)
    leave_out(page.object_list, blinding.withheld_patients(request.user))
    context = {"room": "data", "page": page, "left_out": blinding.left_out(request.user)}
    return render(request, "portal/cohorts.html", context)


@require_POST
def freeze(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Freeze the films `image` (repeated) of the grid; without them, all that match the filters in the query string.
    Refused while the person has yet to read a film of the dataset blinded, whatever the filters: a cohort without it
    would be another one. With `then` split, the form of a split of the cohort follows."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    blinding.refuse_file(request.user, dataset.images.all(), what="The dataset")
    chosen = chosen_films(request, dataset)
    try:
        cohort = freeze_cohort(
            site=dataset.site,
            name=request.POST.get("name", ""),
            images=chosen.images,
            author=request.user,
            note=request.POST.get("note", ""),
            filters={"dataset": dataset.name, **chosen.facts},
        )
    except InvalidCohort as error:
        return error_page(request, "No cohort was frozen", str(error), 400)
    if request.POST.get("then") == "split":
        return HttpResponseRedirect(f"{reverse('portal:new-split')}?cohort={cohort.uuid}")
    return redirect("portal:cohort", cohort.uuid)


def _cohort(request: SignedInRequest, uuid: UUID) -> Cohort:
    cohort = get_visible(Cohort.objects.select_related("site", "created_by"), request.user, uuid)
    request.hilum_site = cohort.site
    return cohort


@require_GET
def cohort(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The films with their frozen labels, and with their current labels where they differ."""
    cohort = _cohort(request, uuid)
    leave_out([cohort], blinding.withheld_patients(request.user))
    members = blinding.without_withheld(images_of(cohort), request.user)
    films = members.annotate(frozen_label=F("cohort_images__label")).select_related("current_label")
    page = film_filters.page_from(films, request.GET.get("from", ""), size=FILMS_A_PAGE)
    for film in page.films:
        label = getattr(film, "current_label", None)
        now, film.was = label.value if label else film_filters.UNLABELLED, film.frozen_label or film_filters.UNLABELLED  # type: ignore[attr-defined]
        film.became = now if now != film.was else ""  # type: ignore[attr-defined]
    labelled = [film.pk for film in page.films if film.became or film.was != film_filters.UNLABELLED]  # type: ignore[attr-defined]
    record_exposure(request.user, Exposure.Kind.LABEL, labelled)
    context = {
        "room": "data",
        "cohort": cohort,
        "page": page,
        "versions": Cohort.objects.filter(site=cohort.site, name=cohort.name).exclude(pk=cohort.pk),
        "splits": cohort.splits.all(),
        "left_out": blinding.left_out(request.user),
        "labellers": people_who_may("label films", cohort.site),
    }
    return render(request, "portal/cohort.html", context)


@require_GET
def cohort_diff(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The changes from `earlier`, another cohort of the site, to this one."""
    cohort = _cohort(request, uuid)
    earlier = _earlier(request, cohort)
    leave_out([cohort, earlier], blinding.withheld_patients(request.user))
    withheld = set(blinding.withheld_images(request.user).values_list("pk", flat=True))
    difference = diff(cohort, earlier).without(withheld)
    relabelled = {change.image_id: change for change in difference.relabelled[:FILMS_A_PAGE]}
    film_ids = [*difference.added[:FILMS_A_PAGE], *difference.removed[:FILMS_A_PAGE], *relabelled]
    by_id = Image.objects.select_related("current_label").in_bulk(film_ids)
    groups = [
        ("Added", len(difference.added), [(by_id[pk], None) for pk in difference.added[:FILMS_A_PAGE]]),
        ("Removed", len(difference.removed), [(by_id[pk], None) for pk in difference.removed[:FILMS_A_PAGE]]),
        ("Relabelled", len(difference.relabelled), [(by_id[pk], change) for pk, change in relabelled.items()]),
    ]
    record_exposure(request.user, Exposure.Kind.LABEL, [*film_filters.labelled(by_id.values()), *relabelled])
    context = {
        "room": "data",
        "cohort": cohort,
        "earlier": earlier,
        "groups": groups,
        "most": FILMS_A_PAGE,
        "left_out": blinding.left_out(request.user),
    }
    return render(request, "portal/cohort_diff.html", context)


def _earlier(request: SignedInRequest, cohort: Cohort) -> Cohort:
    of_site = Cohort.objects.filter(site=cohort.site)
    if address := request.GET.get("earlier"):
        return get_visible(of_site, request.user, address)
    before = of_site.filter(name=cohort.name, version__lt=cohort.version).order_by("-version").first()
    if before is None:
        raise Http404("There is no earlier version.")
    return before
