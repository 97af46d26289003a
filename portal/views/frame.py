"""General pages: health check, home, choice of site and theme, errors."""

import logging
import sys
from uuid import uuid4

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import DisallowedHost
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from portal.models import Site
from portal.people.access import actions_of, get_visible
from portal.people.signed_in import SignedInRequest
from portal.views.outages import Outage, outage_of

API = "/api/"  # its addresses answer as JSON
INTERNAL = "An internal error occurred in Hilum, and your change was not saved. Try again."
REFERENCE = "If it persists, give your administrator the reference {}."

logger = logging.getLogger(__name__)


@login_not_required
@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """Respond with 200 if the process and its database work."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


@require_GET
def home(request: SignedInRequest) -> HttpResponse:
    """The room of the person's work: reading for those who only read, runs for those who only analyse, else data."""
    site = request.hilum_site
    actions = actions_of(request.user, site) if site else set()
    if "label films" in actions or not actions or "import films" in actions:
        return redirect("portal:datasets")
    if "request runs" in actions:
        return redirect("ml_engine:runs")
    return redirect("analysis:worklists")


@login_not_required
def to_log_in(request: HttpRequest) -> HttpResponse:
    """Redirect to the log-in page, which then leads to the requested page."""
    return redirect_to_login(request.GET.get("next", ""))


def _back(request: HttpRequest) -> HttpResponseRedirect:
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(target if safe else reverse("portal:home"))


@require_POST
def choose_site(request: SignedInRequest) -> HttpResponse:
    site = get_visible(Site.objects.all(), request.user, request.POST.get("site", ""))
    request.session["site"] = str(site.uuid)
    return redirect("portal:home")


@require_POST
def choose_theme(request: SignedInRequest) -> HttpResponse:
    request.user.theme = "dark" if request.POST.get("theme") == "dark" else "light"
    request.user.save(update_fields=["theme"])
    return _back(request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    sentence = "There is nothing at this address, or it belongs to a site of which you are not a member."
    return error_page(request, "Not found", sentence, 404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, "Not allowed", str(exception) or "Your roles do not allow this.", 403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        return error_page(
            request,
            "Not this host",
            "Hilum is not set up for the address by which you asked for it. Use the one that you were given. "
            "If it is this one, the administrator adds its host to HILUM_ALLOWED_HOSTS and starts Hilum again.",
            400,
        )
    return error_page(
        request, "Not understood", "The request is malformed; go back, reload the page and try again.", 400
    )


def too_many(request: HttpRequest) -> HttpResponse:
    sentence = (
        "That was asked too often. Wait a minute and try again. Links for a lost password are sent five times an hour: "
        "look for one that is there already."
    )
    return error_page(request, "Too many requests", sentence, 429)


def broken(request: HttpRequest) -> HttpResponse:
    """A bug, or something that Hilum needs is away or full. The database may be, so this page makes no queries. The log
    contains the same reference, which is that of the request."""
    reference = getattr(request, "hilum_id", None) or uuid4().hex[:12]
    outage = outage_of(sys.exc_info()[1])
    logger.error("%s %s", "internal error" if outage is None else outage.name, reference)
    title, status = ("Internal error", 500) if outage is None else (outage.title, outage.status)
    sentence = f"{INTERNAL if outage is None else outage.sentence} {REFERENCE.format(reference)}"
    if request.path_info.startswith(API):
        return _later(JsonResponse({"detail": sentence}, status=status), outage)
    if not request.accepts("text/html"):
        return _later(JsonResponse({"error": sentence}, status=status), outage)
    page = render_to_string("portal/error.html", {"title": title, "sentence": sentence})
    return _later(HttpResponse(page, status=status), outage)


def _later(response: HttpResponse, outage: Outage | None) -> HttpResponse:
    if outage is not None:
        response.headers["Retry-After"] = "30"
    return response


def error_page(request: HttpRequest, title: str, sentence: str, status: int) -> HttpResponse:
    """Respond with a page, or with JSON in the API and to a client that does not accept HTML."""
    if request.path_info.startswith(API):
        return JsonResponse({"detail": sentence}, status=status)
    if not request.accepts("text/html"):
        return JsonResponse({"error": sentence}, status=status)
    return render(request, "portal/error.html", {"title": title, "sentence": sentence}, status=status)
