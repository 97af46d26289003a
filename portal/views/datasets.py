"""Datasets: the list, a dataset as a grid, uploads."""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from portal.dicomweb.pacs_imports import targets_of
from portal.forms import DatasetForm, SourceForm, UploadForm
from portal.grid.film_order import FilmOrder, order_of, orders_for, page_in_order, record_order
from portal.grid.saved_views import OpenedView, opened_view, views_for
from portal.grid.tags import tags_by_film, tags_in
from portal.grid.tiles import WIDTHS, step_of
from portal.intake.correction_rows import waiting_in
from portal.intake.first_names import take_first_names
from portal.intake.folder_imports import import_server_folder
from portal.intake.quotas import shown_usage
from portal.intake.resumable import unfinished_of
from portal.intake.sources.choice import chosen_source
from portal.intake.sources.server_folders import InvalidFolder, listed_folders
from portal.intake.sources.source import InvalidSource
from portal.intake.waiting import waiting_for
from portal.intake.zip_uploads import InvalidUpload, receive_zip
from portal.labels.criteria import current_criteria
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.models import Dataset, Exposure, NormalAttribute, Part, Site, Split, Upload, User
from portal.people import audit, blinding
from portal.people.access import get_visible, people_who_may, require
from portal.people.exposure import record_exposure, shown_to
from portal.people.retired import retired_row, without_retired
from portal.people.signed_in import SignedInRequest
from portal.sets import film_filters
from portal.sets.approvals import approval_of
from portal.sets.cohorts import names_at
from portal.sets.film_pairs import unjudged_at

FILMS_A_PAGE = 60
VIEWS_SHOWN = 12


@require_GET
def datasets(request: SignedInRequest) -> HttpResponse:
    return _list(request, DatasetForm())


def _list(request: SignedInRequest, form: DatasetForm) -> HttpResponse:
    of_site = list(without_retired(Dataset.objects.filter(site=request.hilum_site)).select_related("site"))
    counts = film_filters.counts_by_dataset(of_site, without=blinding.withheld_patients(request.user))
    for dataset in of_site:
        dataset.counts = counts[dataset.pk]  # type: ignore[attr-defined]
        dataset.approval = approval_of(dataset)  # type: ignore[attr-defined]
    usage = shown_usage(request.hilum_site)
    context = {"room": "data", "datasets": of_site, "form": form, "usage": usage}
    return render(request, "portal/datasets.html", context, status=400 if form.errors else 200)


@require_POST
def make_dataset(request: SignedInRequest) -> HttpResponse:
    site = require(request.user, "import films", request.hilum_site)
    form = DatasetForm(request.POST)
    dataset = save_dataset(form, site=site, author=request.user)
    return redirect("portal:dataset", dataset.uuid) if dataset else _list(request, form)


def save_dataset(form: DatasetForm, *, site: Site, author: User) -> Dataset | None:
    """The new dataset; None where the form has errors, also for a name that the site has."""
    if not form.is_valid():
        return None
    dataset: Dataset = form.save(commit=False)
    dataset.site, dataset.created_by = site, author
    try:
        with transaction.atomic():
            dataset.save()
            audit.record(verb="make dataset", site=site, actor=author, target=dataset, after={"name": dataset.name})
    except IntegrityError:
        form.add_error("name", f"A dataset named {dataset.name!r} already exists at {site.name}; choose another name.")
        return None
    return dataset


@require_GET
def dataset(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """A grid of previews with filters and counts, without the films that the person has yet to read blinded."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = dataset.site
    splits = list(Split.objects.filter(datasets=dataset))
    withheld = blinding.withheld_patients(request.user)
    opened = opened_view(request.user, dataset, request.GET.dict())
    query = opened.view.query if opened else request.GET
    filters, order = film_filters.Filters.from_query(query, splits), order_of(query, request.user, dataset)
    all_films = blinding.without_withheld(dataset.images.all(), request.user)
    films = filters.apply(all_films).select_related("current_label")
    page = page_in_order(films, request.GET.get("from", ""), among=all_films, size=FILMS_A_PAGE, order=order)
    of_films = tags_by_film(page.films)
    record_exposure(request.user, Exposure.Kind.LABEL, {*film_filters.labelled(page.films), *of_films})
    record_order(request.user, page.films, order)
    people = shown_to(page.films)
    parts, events = film_filters.parts_of(page.films, filters.split), film_filters.events_of(page.films)
    for film in page.films:
        film.part = parts.get(film.pk, "")  # type: ignore[attr-defined]
        film.seen = events.get(film.pk, 0)  # type: ignore[attr-defined]
        film.shown_to = people.get(film.pk)  # type: ignore[attr-defined]
        film.tags = of_films.get(film.pk, [])  # type: ignore[attr-defined]
    criteria, tags = current_criteria(dataset.site), tags_in(dataset, without=withheld)
    context = {
        "room": "data",
        "dataset": dataset,
        "page": page,
        "films": page.films,
        "splits": splits,
        "omitted": blinding.omitted_among(dataset.images.all(), request.user),
        "findings": film_filters.findings_of(dataset, without=withheld),
        "views": film_filters.views_of(dataset),
        "part_names": [*Part.values, "none"],
        "keys": keys_in(Room.GRID, request.user),
        "listed": list(enumerate(dataset.site.findings, start=1)),
        "attributes": list(enumerate(NormalAttribute.values, start=1)),
        "showing_nothing": film_filters.showing_nothing(dataset, without=withheld),
        "origin_choices": film_filters.origin_choices(dataset, without=withheld),
        "used_attributes": film_filters.attributes_of(dataset, without=withheld),
        "tags": [count for count in tags if count.films],
        "tag_is_there": filters.tag in {count.tag.name for count in tags if count.films},
        "tile_widths": WIDTHS,
        "tile_step": step_of(request.user),
        "known_tags": [count.tag for count in tags],
        "criteria": criteria,
        "criteria_choices": film_filters.criteria_choices(criteria.version) if criteria else [],
        "cohort_names": names_at(dataset.site),
        "labellers": people_who_may("label films", dataset.site),
        "uploads": _latest_uploads(dataset, request.user),
        "unfinished_uploads": unfinished_of(dataset, request.user),
        "unjudged_pairs": unjudged_at(dataset.site, [dataset]),
        "quarantined": dataset.quarantined.count(),
        "corrected": waiting_in(dataset).order_by().values("image").distinct().count(),
        "upload_form": UploadForm(),
        "approval": approval_of(dataset),
        "retired": retired_row(dataset),
        "usage": shown_usage(dataset.site),
        "has_pacs": bool(targets_of(dataset.site)),
        "may_evaluate_set": bool(page.films) or dataset.uploads.exists(),
        "source_form": SourceForm(),
        "server_folders": listed_folders(),
        **_views(dataset, filters, order, opened, request.user),
        **_counts(dataset, filters, without=withheld),
    }
    return render(request, "portal/dataset.html", context)


def _views(
    dataset: Dataset, filters: film_filters.Filters, order: FilmOrder, opened: OpenedView | None, user: User
) -> dict[str, Any]:
    """`query`: filters and order as a query string, with which links keep them."""
    views, facts = list(views_for(user, dataset)), filters.facts() | order.facts()
    return {
        "order": order,
        "orders": _offered(order, user, dataset),
        "query": urlencode(facts),
        "opened": opened,
        "film_views": views[:VIEWS_SHOWN],
        "more_views": max(len(views) - VIEWS_SHOWN, 0),
        "view_query": facts,
    }


def _offered(order: FilmOrder, user: User, dataset: Dataset) -> list[FilmOrder]:
    """With the order of this page, which may be by a run that is not among the newest."""
    orders = orders_for(user, dataset)
    return orders if order in orders else [*orders, order]


def _latest_uploads(dataset: Dataset, user: User) -> list[Upload]:
    """The newest, and those that wait for a mapping. The newest carries the names that it could not match, for the one
    page of the one person who may see them."""
    newest = Q(pk__in=dataset.uploads.values("pk")[:3])  # only the newest ended one is shown
    uploads = list(dataset.uploads.filter(newest | Q(state=Upload.State.MAPPING)))
    for upload in uploads:
        _note_waiting(upload, user)
    for upload in uploads[:1]:
        upload.first_names = take_first_names(upload, user)  # type: ignore[attr-defined]
    return uploads


def _note_waiting(upload: Upload, user: User) -> None:
    if upload.state == Upload.State.RECEIVED:
        upload.waiting_for = waiting_for(upload, user)  # type: ignore[attr-defined]


def _counts(dataset: Dataset, filters: film_filters.Filters, *, without: Collection[int]) -> dict[str, Any]:
    counts = film_filters.label_counts(dataset, filters, without=without)
    return {"filters": filters, "counts": counts, "count": counts[filters.label or "all"]}


@require_GET
def label_counts(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The fragment of the grid with the counts, refreshed after a label."""
    dataset = get_visible(Dataset.objects.all(), request.user, uuid)
    filters = film_filters.Filters.from_query(request.GET, list(Split.objects.filter(datasets=dataset)))
    counts = _counts(dataset, filters, without=blinding.withheld_patients(request.user))
    return render(request, "portal/_counts.html", {"dataset": dataset, **counts})


@require_POST
def upload(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    require(request.user, "import films", dataset.site)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        sentence = "No file was sent; choose a zip of films, or a CSV of labels, and send it."
        if "patients" in form.errors:
            sentence = f"What counts for patients is {request.POST['patients']!r}; choose table or header."
        return render(request, "portal/upload_refused.html", {"dataset": dataset, "sentence": sentence}, status=400)
    try:
        receive_zip(
            dataset=dataset,
            file=form.cleaned_data["file"],
            author=request.user,
            patients=form.cleaned_data["patients"] or Upload.Patients.TABLE,
            check_columns=form.cleaned_data["check_columns"],
            of_source=chosen_source(request.POST),
        )
    except (InvalidUpload, InvalidSource) as error:
        context = {"dataset": dataset, "sentence": str(error)}
        return render(request, "portal/upload_refused.html", context, status=400)
    return redirect("portal:dataset", dataset.uuid)


@require_POST
def import_folder(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Import a published dataset that lies on the server."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    require(request.user, "import films", dataset.site)
    try:
        of_source, folder = chosen_source(request.POST), request.POST.get("folder", "")
        import_server_folder(dataset=dataset, folder=folder, of_source=of_source, author=request.user)
    except (InvalidFolder, InvalidSource) as error:
        context = {"dataset": dataset, "sentence": str(error)}
        return render(request, "portal/upload_refused.html", context, status=400)
    return redirect("portal:dataset", dataset.uuid)


@require_GET
def upload_state(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The fragment of the dataset page that shows the progress of an import; it polls until the import has ended."""
    upload = get_visible(Upload.objects.select_related("dataset__site"), request.user, uuid)
    request.hilum_site = upload.dataset.site
    upload.first_names = take_first_names(upload, request.user)  # type: ignore[attr-defined]
    _note_waiting(upload, request.user)
    return render(request, "portal/_upload.html", {"upload": upload})
