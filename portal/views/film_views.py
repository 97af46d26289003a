"""Saved views of a dataset's grid: the list, and what is done with one."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from portal.grid.saved_views import (
    InvalidView,
    change_view,
    delete_view,
    gone_sentence,
    may_change,
    open_with,
    save_view,
    view_of,
    views_for,
)
from portal.models import Dataset, FilmView
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest


@require_GET
def film_views(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The views of the dataset that the person may use, to be renamed, shared, chosen and deleted."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = dataset.site
    views = list(views_for(request.user, dataset))
    for view in views:
        view.is_mine = view.owner_id == request.user.pk  # type: ignore[attr-defined]
        view.may_change = may_change(request.user, view)  # type: ignore[attr-defined]
        view.gone = gone_sentence(view, request.user)  # type: ignore[attr-defined]
    return render(request, "portal/film_views.html", {"room": "data", "dataset": dataset, "film_views": views})


@require_POST
def save(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Save the filters in the query string as the view `name`, shared with the site where `share` is sent."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    name, share = request.POST.get("name", ""), bool(request.POST.get("share"))
    try:
        view = save_view(dataset=dataset, name=name, query=request.GET.dict(), author=request.user, share=share)
    except InvalidView as error:
        messages.warning(request, f"The view was not saved. {error}")
        return redirect("portal:dataset", dataset.uuid)
    messages.success(request, f"The view “{view.name}” is saved{' and shared with the site' if share else ''}.")
    response = redirect("portal:dataset", dataset.uuid)
    response["Location"] += f"?saved={view.uuid}"
    return response


@require_POST
def change(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    view = view_of(request.user, uuid)
    name, share = request.POST.get("name", view.name), bool(request.POST.get("share"))
    try:
        change_view(view=view, author=request.user, name=name, share=share)
    except InvalidView as error:
        messages.warning(request, f"The view was not changed. {error}")
    else:
        messages.success(request, f"The view “{view.name}” is changed.")
    return _to_list(view)


@require_POST
def delete(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    view = view_of(request.user, uuid)
    delete_view(view=view, author=request.user)
    messages.success(request, f"The view “{view.name}” is deleted. No film was changed.")
    return _to_list(view)


@require_POST
def choose_default(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """From now on the dataset opens with the view for this person; with `all`, with all films."""
    view, opens_with_all = view_of(request.user, uuid), bool(request.POST.get("all"))
    open_with(dataset=view.dataset, view=None if opens_with_all else view, person=request.user)
    with_what = "all films" if opens_with_all else f"the view “{view.name}”"
    messages.success(request, f"{view.dataset.name} opens with {with_what} for you.")
    return _to_list(view)


def _to_list(view: FilmView) -> HttpResponse:
    return redirect("portal:film-views", view.dataset.uuid)
