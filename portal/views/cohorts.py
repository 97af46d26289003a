"""Cohorts: the list, one with its films, what differs from an earlier version, and freezing one from the grid."""

from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import F
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from portal.models import Cohort, Dataset, Image, Split
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest
from portal.sets import film_filters
from portal.sets.cohorts import InvalidCohort, diff, freeze_cohort, images_of
from portal.views.frame import error_page

COHORTS_A_PAGE = 50
FILMS_A_PAGE = 60


@require_GET
def cohort_list(request: SignedInRequest) -> HttpResponse:
    found = Cohort.objects.filter(site=request.hilum_site).select_related("created_by")
    page = Paginator(found, COHORTS_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "portal/cohorts.html", {"room": "data", "page": page})


@require_POST
def freeze(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Freeze what the grid shows: the filters stand in the address."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    filters = film_filters.Filters.from_query(request.GET, Split.objects.filter(datasets=dataset))
    try:
        cohort = freeze_cohort(
            site=dataset.site,
            name=request.POST.get("name", ""),
            images=filters.apply(dataset.images.all()),
            author=request.user,
            note=request.POST.get("note", ""),
            filters={"dataset": dataset.name, **filters.facts()},
        )
    except InvalidCohort as error:
        return error_page(request, "No cohort was frozen", str(error), 400)
    return redirect("portal:cohort", cohort.uuid)


def _cohort(request: SignedInRequest, uuid: UUID) -> Cohort:
    cohort = get_visible(Cohort.objects.select_related("site", "created_by"), request.user, uuid)
    request.hilum_site = cohort.site
    return cohort


@require_GET
def cohort(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The films with the labels that were frozen, and those that they have now where these differ."""
    cohort = _cohort(request, uuid)
    found = images_of(cohort).annotate(frozen_label=F("cohort_images__label")).select_related("current_label")
    page = film_filters.page_from(found, request.GET.get("from", ""), size=FILMS_A_PAGE)
    for film in page.films:
        label = getattr(film, "current_label", None)
        now, film.was = label.value if label else film_filters.UNLABELLED, film.frozen_label or film_filters.UNLABELLED  # type: ignore[attr-defined]
        film.became = now if now != film.was else ""  # type: ignore[attr-defined]
    context = {
        "room": "data",
        "cohort": cohort,
        "page": page,
        "versions": Cohort.objects.filter(site=cohort.site, name=cohort.name).exclude(pk=cohort.pk),
        "splits": cohort.splits.all(),
    }
    return render(request, "portal/cohort.html", context)


@require_GET
def cohort_diff(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """What became of `earlier`, another cohort of the site, on the way to this one."""
    cohort = _cohort(request, uuid)
    earlier = _earlier(request, cohort)
    found = diff(cohort, earlier)
    relabelled = {one.image_id: one for one in found.relabelled[:FILMS_A_PAGE]}
    shown = [*found.added[:FILMS_A_PAGE], *found.removed[:FILMS_A_PAGE], *relabelled]
    by_id = Image.objects.select_related("current_label").in_bulk(shown)
    groups = [
        ("Added", len(found.added), [(by_id[pk], None) for pk in found.added[:FILMS_A_PAGE]]),
        ("Removed", len(found.removed), [(by_id[pk], None) for pk in found.removed[:FILMS_A_PAGE]]),
        ("Relabelled", len(found.relabelled), [(by_id[pk], one) for pk, one in relabelled.items()]),
    ]
    context = {"room": "data", "cohort": cohort, "earlier": earlier, "groups": groups, "most": FILMS_A_PAGE}
    return render(request, "portal/cohort_diff.html", context)


def _earlier(request: SignedInRequest, cohort: Cohort) -> Cohort:
    of_site = Cohort.objects.filter(site=cohort.site)
    if address := request.GET.get("earlier"):
        return get_visible(of_site, request.user, address)
    before = of_site.filter(name=cohort.name, version__lt=cohort.version).order_by("-version").first()
    if before is None:
        raise Http404("There is no earlier version.")
    return before
