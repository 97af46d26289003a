"""What stands between the web server and the views: headers, bodies, the chosen site, parts of pages after the
session."""

import shutil
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRefresh

from portal.intake.zip_uploads import DISK_IS_FULL, FREE_BYTES_KEPT
from portal.people.access import sites_of
from portal.views.frame import error_page

_FORM_AROUND_ZIP = 2**20  # bytes
_PERMISSIONS = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), "
    "microphone=(), midi=(), payment=(), serial=(), usb=(), xr-spatial-tracking=()"
)


def private_by_default(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """What says nothing of caching is not kept at all, or else Back shows a page after its reader has logged out. Film
    files, which never change, and static files say it themselves."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", _PERMISSIONS)
        return response

    return answer


class BodyLimitMiddleware:
    """Refuses a large body before anything reads it: Django would stream it to disk, at any address, as soon as
    CsrfViewMiddleware looks for the token of the form. Only a zip of films may be large, from a person who is signed
    in and while the disk has room."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if "Transfer-Encoding" in request.headers:
            return error_page(request, "Not sent", "Say how long the body is: send it with a Content-Length.", 411)
        length = _content_length(request)
        if length <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return None
        match = request.resolver_match
        is_zip = match is not None and match.view_name == "portal:upload" and request.user.is_authenticated
        limit = settings.UPLOAD_LIMIT_BYTES + _FORM_AROUND_ZIP if is_zip else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if length > limit:
            sentence = f"What you sent has {_size(length)}; the limit here is {_size(limit)}. Nothing of it was kept."
            return error_page(request, "Too large", sentence, 413)
        if length > shutil.disk_usage(settings.FILE_UPLOAD_TEMP_DIR).free - FREE_BYTES_KEPT:
            return error_page(request, "Not sent", DISK_IS_FULL, 507)
        return None


def _content_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:  # as Django, which then reads nothing
        return 0


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


class CurrentSiteMiddleware:
    """`request.hilum_site`: the site whose lists the person sees, kept in the session; None for a stranger."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.hilum_site = None  # type: ignore[attr-defined]
        if request.user.is_authenticated:
            sites = sites_of(request.user)
            chosen = request.session.get("site")
            request.hilum_site = (  # type: ignore[attr-defined]
                sites.filter(uuid=chosen).first() if chosen else None
            ) or sites.order_by("name").first()
        return self.get_response(request)


def log_in_again(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Where a part of a page is asked for after the session has ended, the whole page is loaded again, and leads to
    the log-in; or else the log-in page would stand inside the part."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.htmx and not request.user.is_authenticated and response.status_code == 302:  # type: ignore[attr-defined]
            return HttpResponseClientRefresh()
        return response

    return answer
