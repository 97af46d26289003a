"""Labels by key and in bulk. The answers are JSON: the page changes what it shows only once the label is saved."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.http import JsonResponse
from django.views.decorators.http import require_POST

from portal.access import get_visible, require, visible
from portal.labelling import InvalidLabel, label_films, last_act, undo
from portal.models import Image, Site
from portal.signed_in import Request

MOST_FILMS = 5000


@require_POST
def label(request: Request) -> JsonResponse:
    """`image` (repeated), `value`, and perhaps `finding` (repeated) and `reason`."""
    try:
        addresses = [UUID(text) for text in request.POST.getlist("image")]
    except ValueError:
        return _refusal("An address of a film is damaged; load the page again.")
    if not 1 <= len(addresses) <= MOST_FILMS:
        return _refusal(f"{len(addresses)} films are chosen; choose 1 to {MOST_FILMS}.")
    films = list(visible(Image.objects.select_related("dataset__site"), request.user).filter(uuid__in=addresses))
    if len(films) != len(set(addresses)):
        return _refusal("A film is not at your site or is gone; load the page again.", status=404)
    try:
        act = label_films(
            images=films,
            value=request.POST.get("value", ""),
            author=request.user,
            site=films[0].dataset.site,
            findings=[text[:100] for text in request.POST.getlist("finding")],
            reason=request.POST.get("reason", "")[:500],
        )
    except InvalidLabel as error:
        return _refusal(str(error))
    return JsonResponse({"act": str(act), "labels": _labels_now([film.pk for film in films])})


@require_POST
def undo_label(request: Request) -> JsonResponse:
    """Take back the act named in `act`. Without one nothing is taken back: the answer says which act of the person
    at the site (of the page, named too) is the latest, of those that touched the film named in `image`, if one is."""
    named = request.POST.get("site")
    site = get_visible(Site.objects.all(), request.user, named) if named else request.hilum_site
    site = require(request.user, "label films", site)
    if not request.POST.get("act"):
        return _last(request, site)
    try:
        act = UUID(request.POST["act"])
    except ValueError:
        return _refusal("The address of the act is damaged; load the page again.")
    films = list(Image.objects.filter(label_events__batch=act, dataset__site=site).values_list("pk", flat=True))
    try:
        undo(act=act, author=request.user, site=site)
    except InvalidLabel as error:
        return _refusal(str(error))
    return JsonResponse({"act": str(act), "labels": _labels_now(films)})


def _last(request: Request, site: Site) -> JsonResponse:
    address = request.POST.get("image")
    film = get_visible(Image.objects.all(), request.user, address) if address else None
    last = last_act(author=request.user, site=site, image=film)
    if last is None:
        return _refusal(f"There is nothing of yours to undo {'on this film' if film else 'here'}.")
    return JsonResponse({"last": asdict(last)})


def _labels_now(ids: list[int]) -> dict[str, dict[str, Any]]:
    """Film address -> its label now, blank when it has none, and its findings."""
    rows = Image.objects.filter(pk__in=ids).values_list("uuid", "current_label__value", "current_label__findings")
    return {str(uuid): {"value": value or "", "findings": findings or []} for uuid, value, findings in rows}


def _refusal(sentence: str, *, status: int = 400) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)
