"""The pages that ask for a bank study and for a study of blind spots."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ml_engine import storage
from ml_engine.bank_forms import BankStudyForm, BlindSpotsForm, bank_values, blind_values
from ml_engine.forms import RunForm
from ml_engine.models import Run, RunKind
from portal.access import get_visible, require
from portal.models import Site, Split
from portal.signed_in import Request

Values = Callable[[Run | None, dict[str, str]], dict[str, Any]]


@require_http_methods(["GET", "POST"])
def new_bank_study(request: Request) -> HttpResponse:
    return _new(request, BankStudyForm, bank_values)


@require_http_methods(["GET", "POST"])
def new_blind_spots(request: Request) -> HttpResponse:
    return _new(request, BlindSpotsForm, blind_values)


def _new(request: Request, form_of: type[RunForm], values: Values) -> HttpResponse:
    """A form, empty or filled from the run that is cloned."""
    clone_of = _cloned(request, form_of.kind)
    site = clone_of.site if clone_of else _site_named(request)
    if site is None:
        raise Http404("You are no member of a site.")
    require(request.user, "request runs", site)
    request.hilum_site = site
    start = values(clone_of, request.GET.dict())
    form = form_of(request.POST or None, initial=start, site=site, user=request.user, clone_of=clone_of)
    if request.method == "POST" and form.is_valid():
        made = form.save()
        if made is not None:
            return redirect("ml_engine:run", made.uuid)
    context = {
        "room": "runs",
        "form": form,
        "clone_of": clone_of,
        "has_imagenet": storage.has_imagenet_weights(),
        "has_vgg": storage.has_vgg_weights(),
    }
    return render(request, "ml_engine/new_bank_study.html", context, status=400 if form.errors else 200)


def _cloned(request: Request, kind: RunKind) -> Run | None:
    address = request.GET.get("clone")
    if not address:
        return None
    runs = Run.objects.filter(kind=kind).select_related("site", "split", "alignment", "detector__run", "after")
    return get_visible(runs, request.user, address)


def _site_named(request: Request) -> Site | None:
    """The site of the split or the detector that the address names; without one, the site in the bar."""
    if split := request.GET.get("split"):
        return get_visible(Split.objects.select_related("site"), request.user, split).site
    if detector := request.GET.get("detector"):
        return get_visible(Run.objects.select_related("site"), request.user, detector).site
    return request.hilum_site
