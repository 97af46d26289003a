"""Relabel the chosen films of a dataset, or all that match its filters: preview, confirm, undo."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.labels.criteria import current_criteria
from portal.labels.events import BAD_QUALITY, InvalidLabel, LabelChange, undo
from portal.labels.relabel import MOST_FILMS, PreviewOutdated, apply_relabel, preview_relabel
from portal.labels.relabel_sentences import films as films_in_words
from portal.labels.relabel_sentences import sentences_of
from portal.models import Dataset, Image, LabelEvent, LabelValue, NormalAttribute, Split
from portal.people.access import get_visible, require
from portal.people.blinding import refuse_file, without_withheld
from portal.people.signed_in import SignedInRequest
from portal.sets.film_filters import Filters


@dataclass(frozen=True)
class _Selection:
    """`chosen`: films chosen in the grid; `is_all`: not these but all films that match the filters."""

    filters: Filters
    chosen: tuple[UUID, ...]
    is_all: bool


@require_http_methods(["GET", "POST"])
def relabel(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The form, for the films `image` (repeated) or, without them, for all that match the filters of the query; with
    `preview`, what the label would do."""
    dataset = _dataset(request, uuid)
    return _with_preview(request, dataset) if "preview" in request.POST else _page(request, dataset)


@require_POST
def apply_preview(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Do what the preview `token` says. The fields of the form come along, to preview again what does not hold."""
    dataset = _dataset(request, uuid)
    try:
        done = apply_relabel(token=request.POST.get("token", ""), author=request.user)
    except PreviewOutdated as outdated:
        return _with_preview(request, dataset, fault=str(outdated), status=409)
    except InvalidLabel as error:
        return _page(request, dataset, fault=str(error), status=400)
    if not done.labelled:
        fault = "Nothing was changed: the labels of all these films have changed since the preview. This is one of now."
        return _with_preview(request, dataset, fault=fault, status=409)
    if done.left_aside:
        words = films_in_words(len(done.left_aside), "was", "were")
        messages.warning(request, f"{words} left aside and not changed: their label has changed since the preview.")
    return redirect("portal:relabelled", dataset.uuid, done.act)


@require_GET
def relabelled(request: SignedInRequest, uuid: UUID, act: UUID) -> HttpResponse:
    """What an act of the person has done, with its undo."""
    dataset = _dataset(request, uuid)
    events = LabelEvent.objects.filter(batch=act, author=request.user, image__dataset=dataset, reverts=None)
    first = events.select_related("criteria").order_by("pk").first()
    if first is None:
        raise Http404("No such act.")
    context = {
        "room": "data",
        "dataset": dataset,
        "act": act,
        "event": first,
        "count": events.count(),
        "undone": events.filter(reverted_by__isnull=False).count(),
    }
    return render(request, "portal/relabelled.html", context)


@require_POST
def undo_relabel(request: SignedInRequest, uuid: UUID, act: UUID) -> HttpResponse:
    dataset = _dataset(request, uuid)
    refuse_file(request.user, Image.objects.filter(label_events__batch=act), what="The act")
    try:
        undone = undo(act=act, author=request.user, site=dataset.site)
    except InvalidLabel as error:
        messages.warning(request, str(error))
        return redirect("portal:dataset", dataset.uuid)
    messages.success(request, f"The label of {films_in_words(undone)} is taken back; the former one counts again.")
    return redirect("portal:relabelled", dataset.uuid, act)


def _dataset(request: SignedInRequest, uuid: UUID) -> Dataset:
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = require(request.user, "label films", dataset.site)
    return dataset


def _with_preview(request: SignedInRequest, dataset: Dataset, *, fault: str = "", status: int = 200) -> HttpResponse:
    selection, change = _selection(request, dataset), _change(request)
    try:
        preview = preview_relabel(
            images=_images(dataset, selection),
            among=dataset.images.all() if selection.is_all else None,
            change=change,
            author=request.user,
            site=dataset.site,
        )
    except InvalidLabel as error:
        return _page(request, dataset, fault=str(error), status=400)
    shown = {"preview": preview, "sentences": sentences_of(preview), "moves": _moves(preview.moves)}
    return _page(request, dataset, fault=fault, status=status, **shown)


def _moves(moves: Any) -> list[tuple[str, str, int]]:
    return [(before, after, n) for (before, after), n in sorted(moves.items(), key=lambda move: (-move[1], move[0]))]


def _page(
    request: SignedInRequest, dataset: Dataset, *, fault: str = "", status: int = 200, **shown: Any
) -> HttpResponse:
    selection, change = _selection(request, dataset), _change(request)
    open_films = without_withheld(dataset.images.all(), request.user)
    query = selection.filters.query()
    context = {
        "room": "data",
        "dataset": dataset,
        "selection": selection,
        "query": f"?{query}" if query else "",
        "matching": selection.filters.apply(open_films).count(),
        "most": MOST_FILMS,
        "values": LabelValue.choices,
        "change": change,
        "listed": [*dataset.site.findings, BAD_QUALITY] if dataset.site.findings else [],
        "attributes": NormalAttribute.values,
        "criteria": current_criteria(dataset.site),
        "fault": fault,
        "grid": reverse("portal:dataset", args=[dataset.uuid]),
        **shown,
    }
    return render(request, "portal/relabel.html", context, status=status)


def _selection(request: SignedInRequest, dataset: Dataset) -> _Selection:
    filters = Filters.from_query(request.GET, list(Split.objects.filter(datasets=dataset)))
    chosen = tuple(_uuids(request.POST.getlist("image")))
    return _Selection(filters, chosen, is_all=not chosen or request.POST.get("films") == "all")


def _uuids(texts: list[str]) -> list[UUID]:
    try:
        return [UUID(text) for text in texts]
    except ValueError:
        raise Http404("The identifier of a film is invalid.") from None


def _images(dataset: Dataset, selection: _Selection) -> QuerySet[Image]:
    images = dataset.images.all()
    return selection.filters.apply(images) if selection.is_all else images.filter(uuid__in=selection.chosen)


def _change(request: SignedInRequest) -> LabelChange:
    """The label of the form. What is not ticked is not stated: films whose value stays keep theirs. Attributes belong
    to normal films, and the form does not show them with another value."""
    value = request.POST.get("value", "")
    written = request.POST.get("findings", "").split(",")  # at sites without a list
    findings = [finding.strip()[:100] for finding in [*request.POST.getlist("finding"), *written] if finding.strip()]
    attributes = request.POST.getlist("attribute") if value == LabelValue.NORMAL else []
    return LabelChange(
        value=value,
        findings=list(dict.fromkeys(findings)) or None,
        attributes=attributes or None,
        reason=request.POST.get("reason", "")[:500],
    )
