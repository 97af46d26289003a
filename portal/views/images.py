"""A film: its page, and the files that the viewer fetches."""

import hashlib
import json
from typing import TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.http import FileResponse, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_GET

from portal.grid.film_order import films_beside, order_of, place_of, record_order
from portal.grid.tags import tags_by_film
from portal.intake import film_files
from portal.labels.boxes import boxes_shown
from portal.labels.criteria import current_criteria
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.models import Exposure, FilmTag, Image, NormalAttribute, Split
from portal.people import blinding
from portal.people.access import get_visible
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest
from portal.sets import film_filters
from portal.sets.patient_films import other_films

R = TypeVar("R", bound=HttpResponseBase)
FILMS_AHEAD = 2
# Private, since no shared cache may keep a patient's film. Pixels change where text is blacked out, and a browser that
# has them asks each time whether they have; previews change with a corrected window too, and may be minutes old.
PIXEL_CACHE = "private, no-cache"
PREVIEW_CACHE = "private, max-age=300"
_BYTES = "application/octet-stream"
_EVENT_FIELDS = ("author", "criteria", "reverts", "reverted_by", "consensus")


@require_GET
def image(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The film in the viewer, its label and history, and its neighbours under the grid's filters."""
    film = get_visible(
        Image.objects.select_related("dataset__site", "patient", "study", "current_label"), request.user, uuid
    )
    request.hilum_site = film.dataset.site
    blinding.refuse_withheld(request.user, film)
    splits = Split.objects.filter(datasets=film.dataset)
    filters = film_filters.Filters.from_query(request.GET, splits)
    order = order_of(request.GET, request.user, film.dataset)
    in_grid = filters.apply(blinding.without_withheld(film.dataset.images.all(), request.user))
    in_grid, place = in_grid.select_related("current_label"), place_of(film, order)
    following = films_beside(in_grid, place, order, FILMS_AHEAD)
    previous = next(iter(films_beside(in_grid, place, order, 1, backwards=True)), None)
    events = list(film.label_events.select_related(*_EVENT_FIELDS).order_by("-created_at", "-pk"))
    tags = tags_by_film([film])
    record_exposure(request.user, Exposure.Kind.LABEL, [film.pk] if events or tags else [])
    of_label = (filters.label, filters.finding, filters.attribute, filters.criteria, filters.origin, filters.tag)
    neighbours = [previous, *following] if previous else following
    record_order(request.user, neighbours, order, beside=place)
    if any(of_label) or order.tells:  # a link says that the film has it, or a label that comes next to this one's
        shown = [one.pk for one in neighbours] if filters.tag else film_filters.labelled(neighbours)
        record_exposure(request.user, Exposure.Kind.LABEL, shown)
    context = {
        "room": "data",
        "film": film,
        "dataset": film.dataset,
        "previous": previous,
        "next": following[0] if following else None,
        "prefetch": json.dumps([_urls(neighbour) for neighbour in following]),
        "query": urlencode(filters.facts() | order.facts()),
        "tags": tags.get(film.pk, []),
        "known_tags": FilmTag.objects.filter(site=film.dataset.site),
        "events": events,
        "parts": film.split_images.select_related("member__split").order_by("-member__split__created_at"),
        "others": other_films(film, request.user),
        "text_decisions": film.text_decisions.select_related("author"),
        "keys": keys_in(Room.GRID, request.user),
        "attributes": list(enumerate(NormalAttribute.values, start=1)),
        "criteria": current_criteria(film.dataset.site),
    }
    return render(request, "portal/image.html", context)


def _urls(film: Image) -> dict[str, str]:
    """The film's URLs in the form of the viewer's `prefetch`."""
    return {
        "factsUrl": reverse("portal:image-facts", args=[film.uuid]),
        "pixelsUrl": reverse("portal:image-pixels", args=[film.uuid]),
    }


@require_GET
def pixels(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    """The stored uint16 pixels as on disk: gzip, which the browser decompresses."""
    film = get_visible(Image.objects.all(), request.user, uuid)
    etag = f'"{film.pixel_sha256}"'
    if there := get_conditional_response(request, etag=etag):
        return _asked_again(there, etag, PIXEL_CACHE)
    return _asked_again(_file_of(film), etag, PIXEL_CACHE)


def _file_of(film: Image) -> HttpResponseBase:
    """The film's file. With HILUM_X_ACCEL only its place, from which nginx sends it (deploy/nginx.conf)."""
    path = film_files.pixels_here(film.pixel_sha256)
    if settings.X_ACCEL:
        path.stat()  # a lost file is the same error as without nginx
        place = path.relative_to(settings.DATA_DIR).as_posix()
        return HttpResponse(content_type=_BYTES, headers={"X-Accel-Redirect": f"/x-accel/{place}"})
    response = FileResponse(path.open("rb"), content_type=_BYTES)
    response.headers["Content-Encoding"] = "gzip"
    return response


@require_GET
def facts(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """PixelFacts (portal.imaging.film), with which the viewer shows the pixels, and the orientation of the film."""
    film = get_visible(Image.objects.all(), request.user, uuid)
    orientation = {"view_position": film.view_position, "laterality": film.laterality}
    patient_orientation = film.header.get("patient_orientation", "")
    return JsonResponse(
        {
            **film.facts,
            "image": str(film.uuid),
            **orientation,
            "patient_orientation": patient_orientation,
            "preview_url": reverse("portal:image-preview", args=[film.uuid]),
        }
    )


@require_GET
def boxes(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """The boxes of each author's latest label event that is not reverted, in original pixels."""
    film = get_visible(Image.objects.all(), request.user, uuid)
    blinding.refuse_withheld(request.user, film)
    shown = boxes_shown(film.label_events.order_by("created_at", "pk"))
    record_exposure(request.user, Exposure.Kind.LABEL, [film.pk] if shown else [])
    return JsonResponse({"boxes": shown})


@require_GET
def beside(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """Other films of the patient for the viewer, in order of acquisition where it is known: pixels, and nothing that a
    person who reads blinded may not see."""
    film = get_visible(Image.objects.all(), request.user, uuid)
    others = other_films(film, request.user)
    films = [
        {
            "image": str(other.image.uuid),
            "view_position": other.image.view_position,
            "laterality": other.image.laterality,
            "same_study": other.same_study,
            "days": other.days,
            "when": other.when,
            "facts_url": reverse("portal:image-facts", args=[other.image.uuid]),
            "pixels_url": reverse("portal:image-pixels", args=[other.image.uuid]),
        }
        for other in others.films
    ]
    return JsonResponse({"films": films, "note": others.note})


@require_GET
def preview_file(request: SignedInRequest, uuid: UUID) -> HttpResponseBase:
    film = get_visible(Image.objects.all(), request.user, uuid)
    preview = film_files.preview_bytes(film)
    etag = f'"{hashlib.sha256(preview).hexdigest()[:32]}"'
    there = get_conditional_response(request, etag=etag)
    response: HttpResponseBase = there or HttpResponse(preview, content_type="image/jpeg")
    return _asked_again(response, etag, PREVIEW_CACHE)


def _asked_again(response: R, etag: str, cache: str) -> R:
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = cache
    return response
