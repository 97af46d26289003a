"""Middleware that records every file that leaves: no page or endpoint can forget it."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from portal.models import User
from portal.people.downloads import Sends, is_data, record_download, recorded_elsewhere, sent_by

_Answer = Callable[[HttpRequest], HttpResponseBase]
_PAGES = ("text/html", "text/plain", "text/javascript")
FILM, SPLIT, UPLOAD = "portal.Image", "portal.Split", "portal.Upload"
_PIXELS = Sends("pixels", FILM, about="dataset", counted=True)
_PREVIEWS = Sends("previews", FILM, about="dataset", counted=True)
_REPORT = Sends("de-identification report", UPLOAD, about="dataset")

sent_by(
    {
        "portal:image-pixels": _PIXELS,
        "api-image-pixels": _PIXELS,
        "portal:image-preview": _PREVIEWS,
        "api-image-preview": _PREVIEWS,
        "portal:quarantined-preview": Sends(
            "previews in quarantine", "portal.QuarantinedFile", "dataset", counted=True
        ),
        "portal:split-parts": Sends("parts", SPLIT),
        "api-split-parts": Sends("parts", SPLIT),
        "portal:deidentification": _REPORT,
        "api-deidentification-csv": _REPORT,
    }
)
recorded_elsewhere(
    *("portal:export-films", "api-film-list"),
    *("portal:quarantined-file", "api-quarantined-file"),
    *("portal:manual-image", "schema"),  # say nothing about films
)


def audit_downloads(get_response: _Answer) -> _Answer:
    """Record the files, and the JSON that is declared to be like one, that signed-in people are sent. Where this fails,
    nothing is sent."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        match = request.resolver_match
        if match is None or not isinstance(request.user, User):
            return response
        if response.status_code in (200, 206) and request.method != "HEAD" and is_file(match.view_name, response):
            record_download(request.user, match.view_name, {**request.GET.dict(), **match.kwargs})
        return response

    return middleware


def is_file(name: str, response: HttpResponseBase) -> bool:
    """Whether the URL of this name answers with a file, or with JSON that is declared to be like one."""
    if response.headers.get("Content-Disposition", "").startswith("attachment"):
        return True
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    return is_data(name) if kind == "application/json" else kind not in _PAGES
