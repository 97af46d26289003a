"""Tags: the list of a site, putting one on films and taking it off, and what managers do with one."""

from collections.abc import Sequence
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from portal.grid.tagging import Tagged, add_tag, remove_tag, undo_tagging
from portal.grid.tags import (
    InvalidTag,
    delete_tag,
    merge_tags,
    rename_tag,
    tag_of,
    tags_by_dataset,
    tags_by_film,
    tags_of,
)
from portal.models import Dataset, Exposure, Image
from portal.people import blinding
from portal.people.access import get_visible, require, visible
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest
from portal.views.grid_choice import chosen_films

SHOWN_AT_ONCE = 100  # films whose tags an answer holds


@require_GET
def tags(request: SignedInRequest) -> HttpResponse:
    """The tags of the site with their films by dataset, without films that the person has yet to read blinded."""
    site = require(request.user, "see the site", request.hilum_site)
    withheld = blinding.withheld_patients(request.user)
    counts = tags_of(site, without=withheld)
    of_datasets = tags_by_dataset(site, without=withheld)
    rows = [(count, of_datasets.get(count.tag.pk, [])) for count in counts]
    return render(
        request, "portal/tags.html", {"room": "data", "rows": rows, "left_out": blinding.left_out(request.user)}
    )


@require_POST
def tag_films(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Put `tag` on the chosen films, or with `act` remove take it off. Answers JSON to the grid, with the tags of the
    films `shown` on it; a form without a script is led back to its page."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    chosen = chosen_films(request, dataset)
    change = remove_tag if request.POST.get("act") == "remove" else add_tag
    try:
        done = change(
            images=chosen.images,
            among=chosen.among,
            name=request.POST.get("tag", ""),
            author=request.user,
            site=dataset.site,
        )
    except InvalidTag as error:
        return _refused(request, str(error), dataset)
    return _answer(request, done, dataset)


@require_POST
def undo(request: SignedInRequest) -> HttpResponse:
    """Undo an act `act` of the person's own."""
    try:
        done = undo_tagging(act=UUID(request.POST.get("act", "")), author=request.user)
    except ValueError:
        return _refused(request, "The identifier of the act is invalid; reload the page.", None)
    except InvalidTag as error:
        return _refused(request, str(error), None)
    return _answer(request, done, None)


def _answer(request: SignedInRequest, done: Tagged, dataset: Dataset | None) -> HttpResponse:
    if not request.accepts("text/html"):
        act = str(done.act) if done.act else None
        answer = {"act": act, "tag": done.tag, "adds": done.adds, "films": done.films, "words": done.words}
        return JsonResponse(answer | {"tags": _tags_now(request)})
    messages.success(request, done.words)
    return _back(request, dataset)


def _tags_now(request: SignedInRequest) -> dict[str, Sequence[str]]:
    """Film UUID -> tags, for the films on the page."""
    try:
        addresses = [UUID(text) for text in request.POST.getlist("shown")[:SHOWN_AT_ONCE]]
    except ValueError:
        return {}
    films = visible(Image.objects.all(), request.user).filter(uuid__in=addresses)
    films = blinding.without_withheld(films, request.user)
    names = tags_by_film(films)
    record_exposure(request.user, Exposure.Kind.LABEL, names)
    return {str(film.uuid): names.get(film.pk, []) for film in films}


def _refused(request: SignedInRequest, sentence: str, dataset: Dataset | None) -> HttpResponse:
    if not request.accepts("text/html"):
        return JsonResponse({"error": sentence}, status=400)
    messages.warning(request, f"No tag was changed. {sentence}")
    return _back(request, dataset)


def _back(request: SignedInRequest, dataset: Dataset | None) -> HttpResponse:
    """To the film that the form was on, else to the grid, else to the list of tags."""
    films = request.POST.getlist("image")
    if request.POST.get("back") == "film" and len(films) == 1:
        return redirect("portal:image", films[0])
    return redirect("portal:dataset", dataset.uuid) if dataset else redirect("portal:tags")


# Managers ------------------------------------------------------------------------------------------------


@require_POST
def rename(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    tag = tag_of(request.user, uuid)
    before = tag.name
    try:
        rename_tag(tag=tag, name=request.POST.get("name", ""), author=request.user)
    except InvalidTag as error:
        messages.warning(request, f"No tag was changed. {error}")
    else:
        messages.success(request, f"“{before}” is “{tag.name}” now, on its films and in saved views.")
    return redirect("portal:tags")


@require_POST
def merge(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    tag = tag_of(request.user, uuid)
    into = tag_of(request.user, request.POST.get("into", ""))
    try:
        films = merge_tags(tag=tag, into=into, author=request.user)
    except InvalidTag as error:
        messages.warning(request, f"No tag was changed. {error}")
    else:
        got = "1 film got it" if films == 1 else f"{films:,} films got it"
        messages.success(request, f"“{tag.name}” is merged into “{into.name}”: {got}.")
    return redirect("portal:tags")


@require_POST
def delete(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    tag = tag_of(request.user, uuid)
    films = delete_tag(tag=tag, author=request.user)
    messages.success(request, f"“{tag.name}” is deleted, and off {films:,} film{'' if films == 1 else 's'}.")
    return redirect("portal:tags")
