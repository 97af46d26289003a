"""Pages around the pages: health, home, the choice of site and theme, errors."""

import logging
from uuid import uuid4

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from portal.models import Site
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest

logger = logging.getLogger(__name__)


@login_not_required
@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """200 when the process answers and its database does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    return redirect("portal:datasets")


@login_not_required
def to_log_in(request: HttpRequest) -> HttpResponse:
    """To the log-in page, which leads on to where the person was going."""
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
    sentence = "There is nothing at this address, or it belongs to a site where you are no member."
    return error_page(request, "Not found", sentence, 404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, "Not allowed", str(exception) or "Your roles do not allow this.", 403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, "Not understood", "The request is damaged; go back, load the page again and retry.", 400)


def foreign_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its token: a page from before the last log-in, or another site's."""
    return error_page(request, "Not sent", "You have logged in or out since this page was loaded; load it again.", 403)


def broken(request: HttpRequest) -> HttpResponse:
    """A bug, or the database is away: so this page asks it nothing. The log has the same reference."""
    reference = uuid4().hex[:12]
    logger.error("internal error %s at %s", reference, request.path)
    sentence = (
        "Something went wrong inside Hilum, and what you did was not saved. Try again; "
        f"if it stays, tell your administrator the reference {reference}."
    )
    if not request.accepts("text/html"):
        return JsonResponse({"error": sentence}, status=500)
    page = render_to_string("portal/error.html", {"title": "Internal error", "sentence": sentence})
    return HttpResponse(page, status=500)


def error_page(request: HttpRequest, title: str, sentence: str, status: int) -> HttpResponse:
    """As a page, or as JSON for a script that asks for it."""
    if not request.accepts("text/html"):
        return JsonResponse({"error": sentence}, status=status)
    return render(request, "portal/error.html", {"title": title, "sentence": sentence}, status=status)
