"""Hilum below a path of a host that serves other things too, such as https://ward.example.org/hilum/."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.urls import Resolver404, get_resolver

Application = Callable[[dict[str, Any], Any], Any]  # WSGI


def below(application: Application, prefix: str) -> Application:
    """Take the prefix off the addresses of requests, where the proxy has left it on. Raises ImproperlyConfigured if it
    is the beginning of an address of Hilum, so that nobody could say whether it is on."""
    if not prefix:
        return application
    _refuse_own(prefix)

    def without_prefix(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path[len(prefix) :] or "/"
        return application(environ, start_response)

    return without_prefix


def _refuse_own(prefix: str) -> None:
    try:
        get_resolver().resolve(f"{prefix}/")
    except Resolver404:
        return
    raise ImproperlyConfigured(
        f"HILUM_URL_PREFIX is {prefix}, which is an address of Hilum itself; choose another one, such as /hilum."
    )
