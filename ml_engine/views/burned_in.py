"""Films that may have text burned in: the search of a dataset, and a page for each film on which a person decides."""

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ml_engine.runs.text_review import REFUSED, decide, films_for
from portal.intake.text_decisions import require_decision
from portal.intake.text_looks import begin_search, header_says_so, search_of, to_decide
from portal.labels.key_table import Room
from portal.labels.keys import keys_in
from portal.models import Dataset, Exposure, Image, TextLook
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, require
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest

FILMS_A_PAGE = 60


@require_GET
@accepts_query("page", "show")
def burned_in(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The suspected films that wait, or with `show=decided` those on which people decided."""
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    require(request.user, "review text on films", dataset.site)
    request.hilum_site = dataset.site
    films = films_for(request.user, dataset)
    decided = films.filter(text_decisions__isnull=False).distinct()
    shows_decided = request.GET.get("show") == "decided"
    waiting = to_decide(films)
    page = Paginator((decided if shows_decided else waiting).order_by("pk"), FILMS_A_PAGE).get_page(
        request.GET.get("page")
    )
    for film in page.object_list:
        decided_last = film.text_decisions.select_related("author").last() if shows_decided else None
        film.decided = decided_last  # type: ignore[attr-defined]
    context = {
        "room": "data",
        "dataset": dataset,
        "search": search_of(dataset),
        "page": page,
        "first": waiting.order_by("pk").first(),
        "shows_decided": shows_decided,
        "query": "show=decided" if shows_decided else "",
        "numbers": {"waiting": waiting.count(), "decided": decided.count()},
        "omitted": blinding.omitted_among(dataset.images.all(), request.user),
    }
    return render(request, "ml_engine/burned_in.html", context)


@require_POST
def search_text(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    left = begin_search(dataset=dataset, author=request.user).left
    if left:
        films = f"{left} film{'' if left == 1 else 's'}"
        messages.success(request, f"Hilum looks at {films} in the background; reload this page to see how far it is.")
    else:
        messages.info(request, "All films were looked at.")
    return redirect("ml_engine:burned-in", dataset.uuid)


@require_http_methods(["GET", "POST"])
def film_text(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """A film with the suspected boxes; a POST decides on it and leads to the next."""
    film = get_visible(Image.objects.select_related("dataset__site"), request.user, uuid)
    request.hilum_site = film.dataset.site
    require_decision(film, request.user)
    sentence = ""
    if request.method == "POST":
        try:
            decide(
                film,
                verdict=request.POST.get("verdict", ""),
                boxes=_boxes(request.POST.get("boxes", "")),
                pixels_seen=request.POST.get("pixels", ""),
                events_seen=_number(request.POST.get("events", "")),
                author=request.user,
            )
            return _to_next(request, film)
        except REFUSED as error:
            sentence = str(error)
            film.refresh_from_db()
    context = _context(request, film) | {"sentence": sentence}
    return render(request, "ml_engine/film_text.html", context, status=400 if sentence else 200)


def _boxes(text: str) -> object:
    try:
        return json.loads(text or "[]")
    except ValueError:
        return None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _context(request: SignedInRequest, film: Image) -> dict[str, Any]:
    waiting = to_decide(films_for(request.user, film.dataset))
    following = _following(waiting, film)
    look = TextLook.objects.filter(image=film).first()
    events = film.label_events.count()  # that there are some says that the film has a label, as an exclusion does
    record_exposure(request.user, Exposure.Kind.LABEL, [film.pk] if events else [])
    return {
        "room": "data",
        "film": film,
        "dataset": film.dataset,
        "lines": look.lines if look else [],
        "is_looked_at": look is not None,
        "header_says_so": header_says_so(film),
        "keys": keys_in(Room.QUEUE, request.user),
        "decisions": film.text_decisions.select_related("author"),
        "events": events,
        "left": waiting.count(),
        "next": following,
    }


def _following(waiting: QuerySet[Image], film: Image) -> Image | None:
    """The next that waits, from the beginning again after the last."""
    others = waiting.exclude(pk=film.pk).order_by("pk")
    return others.filter(pk__gt=film.pk).first() or others.first()


def _to_next(request: SignedInRequest, film: Image) -> HttpResponse:
    following = _following(to_decide(films_for(request.user, film.dataset)), film)
    if following is None:
        messages.success(request, "No film is left to look at.")
        return redirect("ml_engine:burned-in", film.dataset.uuid)
    return redirect(reverse("ml_engine:film-text", args=[following.uuid]))
