"""Why a form was refused, in words that name the cause: the origin, the cookie or the token. Behind a proxy that is set
up wrongly, every form of everybody is; so the log has the exact values, and administrators see the line to change."""

import logging
from urllib.parse import urlsplit

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.middleware import csrf

from portal.views.frame import error_page

_OTHER_ORIGIN = ("Origin checking failed", "Referer checking failed")
_STALE = ("incorrect.",)  # the end of Django's reason for a token of another log-in
logger = logging.getLogger(__name__)


def refuse(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_page(request, "Not sent", why(request, reason), 403)


def why(request: HttpRequest, reason: str) -> str:
    """A sentence for the reason of Django's CSRF check; the details go to the log."""
    if reason.startswith(_OTHER_ORIGIN):
        return _of_origin(request, reason)
    logger.warning("form refused: %s", reason)
    if reason == csrf.REASON_NO_CSRF_COOKIE:
        return (
            "Your browser sent no cookie with this form. Allow cookies for this address, reload the page, and send it "
            "again; in production cookies are sent to addresses that begin with https:// only."
        )
    if reason.endswith(_STALE):
        return "You have logged in or out since this page was loaded; reload it."
    return (
        "The token that protects this form did not arrive whole. Reload the page and send it again; if that is of no "
        "use, a proxy or an extension of the browser removes the field csrfmiddlewaretoken or the header X-CSRFToken."
    )


def _of_origin(request: HttpRequest, reason: str) -> str:
    sent = _origin_of(request.META.get("HTTP_ORIGIN") or request.META.get("HTTP_REFERER", ""))
    own = _own_origin(request)
    shown = sent or ("an opaque origin (null)" if request.META.get("HTTP_ORIGIN") == "null" else "nowhere")
    logger.warning("form refused: it came from %s, and this installation takes itself for %s", shown, own)
    if request.META.get("HTTP_ORIGIN") == "null":
        return (
            "Your browser kept to itself which page this form came from: it sent “Origin: null”. Browsers do that in a "
            "sandboxed frame, for a page that was saved as a file, after a redirect by another address, and where an "
            "extension for privacy, or a proxy that sets Referrer-Policy: no-referrer, asks for it. Open Hilum in a "
            "tab of its own, by the address that people type, and send the form again; if nobody's forms are taken, "
            "the administrator looks at what the proxy does with that header."
        )
    if not sent:
        return (
            "Your browser sent neither Origin nor Referer with this form, so that it could be of another website. "
            "Allow them for this address in the browser; if nobody's forms are taken, a proxy removes these headers."
        )
    sentence = f"This form came from {sent}, which this installation does not take for itself. "
    if _is_administrator(request):
        return (
            f"{sentence}It takes itself for {own}, from the headers Host and X-Forwarded-Proto that the proxy sends. "
            f"If people open Hilum under {sent}, add {sent} to HILUM_TRUSTED_ORIGINS, start again, and let the proxy "
            "pass on both headers."
        )
    if sent.partition("://")[2] == own.partition("://")[2]:
        return (
            f"{sentence}The proxy in front of it does not say that you came by {sent.partition(':')[0]}: its "
            f"administrator lets it pass on X-Forwarded-Proto, or adds {sent} to HILUM_TRUSTED_ORIGINS."
        )
    return (
        f"{sentence}If that is the address under which people open Hilum, its administrator adds it to "
        "HILUM_TRUSTED_ORIGINS, with https:// and a port if there is one, and lets the proxy pass on Host and "
        "X-Forwarded-Proto."
    )


def _origin_of(address: str) -> str:
    """Scheme, host and port of an address, without its path; empty if it has none."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"[:100] if parts.netloc else ""


def _own_origin(request: HttpRequest) -> str:
    try:
        return f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        return "an unknown host"


def _is_administrator(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_authenticated and user.is_staff)
