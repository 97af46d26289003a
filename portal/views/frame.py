"""General pages: health check, home, choice of site and theme, errors."""

import logging
from urllib.parse import urlsplit
from uuid import uuid4

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import REASON_NO_CSRF_COOKIE
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from portal.models import Site
from portal.people.access import actions_of, get_visible
from portal.people.signed_in import SignedInRequest

API = "/api/"  # its addresses answer as JSON

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
    return HttpResponseRedirect(target if safe else "/")


@require_POST
def choose_site(request: SignedInRequest) -> HttpResponse:
    site = get_visible(Site.objects.all(), request.user, request.POST.get("site", ""))
    request.session["site"] = str(site.uuid)
    return redirect("portal:datasets")


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
    return error_page(
        request, "Not understood", "The request is malformed; go back, reload the page and try again.", 400
    )


def foreign_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without a valid CSRF token, from a page before the last log-in, or with the origin of another website,
    which an installation behind a proxy may be itself as long as its origin is not among the settings."""
    if reason.startswith(("Origin checking failed", "Referer checking failed")):
        origin = request.META.get("HTTP_ORIGIN") or request.META.get("HTTP_REFERER", "")
        sentence = (
            f"This form came from {_host_of(origin)}, which this installation does not take for itself. If that is the "
            "address under which people open Hilum, its administrator adds it to HILUM_TRUSTED_ORIGINS, with https:// "
            "and a port if there is one, and lets the proxy pass on Host and X-Forwarded-Proto."
        )
        return error_page(request, "Not sent", sentence, 403)
    if reason == REASON_NO_CSRF_COOKIE:
        sentence = (
            "Your browser sent no cookie with this form. Allow cookies for this address, reload the page, and send it "
            "again; in production cookies are sent to addresses that begin with https:// only."
        )
        return error_page(request, "Not sent", sentence, 403)
    return error_page(request, "Not sent", "You have logged in or out since this page was loaded; reload it.", 403)


def _host_of(origin: str) -> str:
    """Scheme, host and port of an address, without its path, or what stands in its place."""
    parts = urlsplit(origin)
    return f"{parts.scheme}://{parts.netloc}"[:100] if parts.netloc else "an unknown address"


def broken(request: HttpRequest) -> HttpResponse:
    """A bug, or an unavailable database, so this page makes no queries. The log contains the same reference."""
    reference = uuid4().hex[:12]
    logger.error("internal error %s at %s", reference, request.path)
    sentence = (
        "An internal error occurred in Hilum, and your change was not saved. Try again; "
        f"if the error persists, give your administrator the reference {reference}."
    )
    if request.path.startswith(API):
        return JsonResponse({"detail": sentence}, status=500)
    if not request.accepts("text/html"):
        return JsonResponse({"error": sentence}, status=500)
    page = render_to_string("portal/error.html", {"title": "Internal error", "sentence": sentence})
    return HttpResponse(page, status=500)


def error_page(request: HttpRequest, title: str, sentence: str, status: int) -> HttpResponse:
    """Respond with a page, or with JSON in the API and to a client that does not accept HTML."""
    if request.path.startswith(API):
        return JsonResponse({"detail": sentence}, status=status)
    if not request.accepts("text/html"):
        return JsonResponse({"error": sentence}, status=status)
    return render(request, "portal/error.html", {"title": title, "sentence": sentence}, status=status)
