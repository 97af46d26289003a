"""Duplicates: pairs of films that may be the same film, judged side by side."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal.models import Dataset, FilmPair, Image
from portal.people import blinding
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest
from portal.sets.film_pairs import SHOWN, UNJUDGED, counts_of, next_unjudged, of_dataset, pairs_for, with_verdict
from portal.sets.judging_pairs import InvalidJudgement, judge_pair

PAIRS_A_PAGE = 50


@require_GET
def duplicates(request: SignedInRequest) -> HttpResponse:
    dataset = _dataset_of(request)
    if dataset:
        request.hilum_site = dataset.site
    pairs = of_dataset(pairs_for(request.user).filter(site=request.hilum_site), dataset)
    shown = request.GET.get("show", UNJUDGED)
    shown = shown if shown in SHOWN else UNJUDGED
    context = {
        "room": "data",
        "dataset": dataset,
        "counts": counts_of(pairs),
        "shown": shown,
        "page": Paginator(with_verdict(pairs, shown), PAIRS_A_PAGE).get_page(request.GET.get("page")),
        "next": next_unjudged(pairs),
        "query": urlencode({"show": shown, **({"dataset": dataset.uuid} if dataset else {})}),
        "left_out": blinding.left_out(request.user),
    }
    return render(request, "portal/duplicates.html", context)


@require_GET
def duplicate(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    return _show(request, _pair(request, uuid))


@require_POST
def judge(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    pair = _pair(request, uuid)
    try:
        judge_pair(
            pair=pair, verdict=request.POST.get("verdict", ""), seen=request.POST.get("seen", ""), author=request.user
        )
    except InvalidJudgement as error:
        return _show(request, _pair(request, uuid), sentence=str(error))
    dataset = _dataset_of(request)
    following = next_unjudged(of_dataset(pairs_for(request.user).filter(site=pair.site), dataset), pair)
    if following is None:
        messages.success(request, "No pair is left to judge.")
        return redirect(_with(reverse("portal:duplicates"), dataset=dataset))
    return redirect(_with(reverse("portal:duplicate", args=[following]), dataset=dataset, last=pair.uuid))


def _show(request: SignedInRequest, pair: FilmPair, *, sentence: str = "") -> HttpResponse:
    request.hilum_site = pair.site
    dataset = _dataset_of(request)
    pairs = of_dataset(pairs_for(request.user).filter(site=pair.site), dataset)
    following = next_unjudged(pairs, pair)
    ahead = pairs.filter(uuid=following).first() if following else None
    context = {
        "room": "data",
        "pair": pair,
        "films": [(pair.first, _urls(pair.first)), (pair.second, _urls(pair.second))],
        "ahead": json.dumps([_urls(film) for film in (ahead.first, ahead.second)]) if ahead else "[]",
        "left": counts_of(pairs)[UNJUDGED],
        "dataset": dataset,
        "query": urlencode({"dataset": dataset.uuid}) if dataset else "",
        "next_url": _with(reverse("portal:duplicate", args=[following]), dataset=dataset) if following else "",
        "last": _last(request),
        "sentence": sentence,
    }
    return render(request, "portal/duplicate.html", context, status=400 if sentence else 200)


def _pair(request: SignedInRequest, uuid: UUID) -> FilmPair:
    pair = get_visible(FilmPair.objects.select_related("site", "first__dataset", "second__dataset"), request.user, uuid)
    for film in (pair.first, pair.second):
        blinding.refuse_withheld(request.user, film)
    return pair


def _last(request: SignedInRequest) -> UUID | None:
    """The pair that the person has just judged, to correct it."""
    try:
        last = UUID(request.GET.get("last", ""))
    except ValueError:
        return None
    return pairs_for(request.user).filter(uuid=last).values_list("uuid", flat=True).first()


def _dataset_of(request: SignedInRequest) -> Dataset | None:
    asked = request.GET.get("dataset", "")
    return get_visible(Dataset.objects.select_related("site"), request.user, asked) if asked else None


def _urls(film: Image) -> dict[str, str]:
    return {
        "factsUrl": reverse("portal:image-facts", args=[film.uuid]),
        "pixelsUrl": reverse("portal:image-pixels", args=[film.uuid]),
    }


def _with(address: str, *, dataset: Dataset | None, **values: Any) -> str:
    query = {**({"dataset": dataset.uuid} if dataset else {}), **values}
    return f"{address}?{urlencode(query)}" if query else address
