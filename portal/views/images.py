"""A film: its page, and the files that the viewer fetches."""

import json
from typing import TypeVar
from uuid import UUID

from django.http import FileResponse, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from portal.intake import film_files
from portal.labels.boxes import boxes_shown
from portal.labels.criteria import current_criteria
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.models import Exposure, Image, NormalAttribute, Split
from portal.people import blinding
from portal.people.access import get_visible
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest
from portal.sets import film_filters
from portal.sets.patient_films import other_films

R = TypeVar("R", bound=HttpResponseBase)
FILMS_AHEAD = 2
PREVIEW_CACHE = "private, max-age=3600, stale-while-revalidate=86400"
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
    in_grid = filters.apply(blinding.without_withheld(film.dataset.images.all(), request.user)).order_by("pk")
    following = list(in_grid.filter(pk__gt=film.pk).select_related("current_label")[:FILMS_AHEAD])
    previous = in_grid.filter(pk__lt=film.pk).select_related("current_label").last()
    events = list(film.label_events.select_related(*_EVENT_FIELDS).order_by("-created_at", "-pk"))
    record_exposure(request.user, Exposure.Kind.LABEL, [film.pk] if events else [])
    if filters.label or filters.finding or filters.attribute or filters.criteria:  # a link says that the film has it
        neighbours = [previous, *following] if previous else following
        record_exposure(request.user, Exposure.Kind.LABEL, film_filters.labelled(neighbours))
    context = {
        "room": "data",
        "film": film,
        "dataset": film.dataset,
        "previous": previous,
        "next": following[0] if following else None,
        "prefetch": json.dumps([_urls(neighbour) for neighbour in following]),
        "query": filters.query(),
        "events": events,
        "parts": film.split_images.select_related("member__split").order_by("-member__split__created_at"),
        "others": other_films(film, request.user),
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
def pixels(request: SignedInRequest, uuid: UUID) -> FileResponse:
    """The stored uint16 pixels as on disk: gzip, which the browser decompresses."""
    film = get_visible(Image.objects.all(), request.user, uuid)
    response = FileResponse(
        film_files.pixel_path(film.pixel_sha256).open("rb"), content_type="application/octet-stream"
    )
    response.headers["Content-Encoding"] = "gzip"
    return _cached_forever(response)


@require_GET
def facts(request: SignedInRequest, uuid: UUID) -> JsonResponse:
    """PixelFacts (portal.imaging.film), with which the viewer shows the pixels, and the orientation of the film."""
    film = get_visible(Image.objects.all(), request.user, uuid)
    orientation = {"view_position": film.view_position, "laterality": film.laterality}
    patient_orientation = film.header.get("patient_orientation", "")
    return JsonResponse(
        {**film.facts, "image": str(film.uuid), **orientation, "patient_orientation": patient_orientation}
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
def preview_file(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    film = get_visible(Image.objects.all(), request.user, uuid)
    response = HttpResponse(film_files.preview_bytes(film), content_type="image/jpeg")
    response.headers["Cache-Control"] = PREVIEW_CACHE  # a corrected window changes it
    return response


def _cached_forever(response: R) -> R:
    """The pixels at a URL never change. Private, since no shared cache may keep a patient's film."""
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return response
