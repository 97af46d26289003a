"""Pages around the pages: health, home, the choice of site and theme, errors."""

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from portal.access import get_visible, sites_of


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


def _back(request: HttpRequest) -> HttpResponseRedirect:
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(target if safe else "/")


@require_POST
def choose_site(request: HttpRequest) -> HttpResponse:
    site = get_visible(sites_of(request.user), request.user, request.POST.get("site", ""))
    request.session["site"] = str(site.uuid)
    return redirect("portal:datasets")


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    request.user.theme = "dark" if request.POST.get("theme") == "dark" else "light"
    request.user.save(update_fields=["theme"])
    return _back(request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(
        request,
        "portal/error.html",
        {
            "title": "Not found",
            "sentence": "There is nothing at this address, or it belongs to a site where you are no member.",
        },
        status=404,
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(
        request,
        "portal/error.html",
        {"title": "Not allowed", "sentence": str(exception) or "Your roles do not allow this."},
        status=403,
    )
