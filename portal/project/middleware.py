"""Middleware: response headers, size of request bodies, the chosen site, and page fragments after the session ended."""

import shutil
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRefresh

from portal.intake.resumable import CONTENT
from portal.intake.zip_uploads import DISK_IS_FULL
from portal.models import Membership, Site, User
from portal.people import sessions
from portal.people.accepted_query import why_refused
from portal.people.access import sites_of
from portal.people.blinding import open_films
from portal.views.frame import error_page

_FORM_AROUND_ZIP = 2**20  # bytes
_PERMISSIONS = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), "
    "microphone=(), midi=(), payment=(), serial=(), usb=(), xr-spatial-tracking=()"
)


def private_by_default(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Default to no-store, so that the Back button shows nothing after log-out. Film files, which never change, and
    static files set their own header."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", _PERMISSIONS)
        return response

    return middleware


def end_old_sessions(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Log out whose session is over (portal.people.sessions), before it is asked who is logged in."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if isinstance(person := request.user, User) and not sessions.end_if_over(request, person):
            sessions.note(request, person)
        return get_response(request)

    return middleware


class BodyLimitMiddleware:
    """Refuses a large request body before it is read: otherwise Django streams it to disk, at any URL, as soon as
    CsrfViewMiddleware looks for the form's token. Only a zip of films may be large, and only from a person who is
    signed in and while the disk has space. The API of uploads asks who sends it before it reads any of it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if "Transfer-Encoding" in request.headers:
            return error_page(request, "Not sent", "The request has no Content-Length; send it with one.", 411)
        length = _content_length(request)
        if length <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return None
        name = request.resolver_match.view_name if request.resolver_match else ""
        is_part = name == "api-partial-upload" and request.content_type == CONTENT
        is_zip = is_part or (name == "portal:upload" and request.user.is_authenticated)
        limit = settings.UPLOAD_LIMIT_BYTES + _FORM_AROUND_ZIP if is_zip else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if length > limit:
            sentence = f"The request has {_size(length)}; the limit here is {_size(limit)}. Nothing was saved."
            return error_page(request, "Too large", sentence, 413)
        if length > shutil.disk_usage(settings.FILE_UPLOAD_TEMP_DIR).free - settings.FREE_BYTES_KEPT:
            return error_page(request, "Not sent", DISK_IS_FULL, 507)
        return None


def _content_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:  # like Django, which then reads no body
        return 0


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


class AcceptedQueryMiddleware:
    """Refuses a GET with a query parameter that the page of results, or the API endpoint, would ignore."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        match = request.resolver_match
        if request.method != "GET" or match is None or not match.view_name.startswith(("analysis:", "api-")):
            return None
        sentence = why_refused(view, request.GET)
        return error_page(request, "Not understood", sentence, 400) if sentence else None


class BlindedAdminMiddleware:
    """Refuses the admin, whose pages show labels, readings and the audit, to a person who reads films blinded."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        match = request.resolver_match
        if match is None or match.app_name != "admin" or not request.user.is_authenticated:
            return None
        row = open_films(request.user).first()
        if row is None:
            return None
        sentence = (
            f"You read films blinded in {row.source_words}, and the admin shows labels and readings. Read the films "
            "first, or hand back what is left of the list."
        )
        return error_page(request, "Not allowed", sentence, 403)


class CurrentSiteMiddleware:
    """Sets `request.hilum_site`: the site whose lists the person sees, kept in the session; None if not signed in. Once
    a page of another site was opened, the lists are of that site: its links to lists lead to where the page belongs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        site = request.hilum_site = _chosen_site(request)  # type: ignore[attr-defined]
        response = self.get_response(request)
        shown = request.hilum_site  # type: ignore[attr-defined]
        if shown is not None and shown != site and _is_page(request, response):
            request.session["site"] = str(shown.uuid)
        return response


def _chosen_site(request: HttpRequest) -> Site | None:
    """Without a choice, a site of which the person is a member: an administrator sees others too."""
    if not isinstance(person := request.user, User):
        return None
    sites, chosen = sites_of(person), request.session.get("site")
    if chosen and (site := sites.filter(uuid=chosen).first()):
        return site
    is_member = Exists(Membership.objects.filter(site=OuterRef("pk"), user=person))
    return sites.order_by(is_member.desc(), "name").first()


def _is_page(request: HttpRequest, response: HttpResponse) -> bool:
    kind = response.headers.get("Content-Type", "")
    is_opened = request.method == "GET" and not request.htmx  # type: ignore[attr-defined]
    return bool(is_opened and response.status_code == 200 and kind.startswith("text/html"))


def log_in_again(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Reload the whole page if a fragment is requested after the session has ended. It then redirects to the log-in
    page, which would otherwise be inserted in place of the fragment."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.htmx and not request.user.is_authenticated and response.status_code == 302:  # type: ignore[attr-defined]
            return HttpResponseClientRefresh()
        return response

    return middleware
