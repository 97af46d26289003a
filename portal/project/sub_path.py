"""Hilum below a path of a host that serves other things too, such as https://ward.example.org/hilum/."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver

Application = Callable[[dict[str, Any], Any], Any]  # WSGI


def below(application: Application, prefix: str) -> Application:
    """Take the prefix off the addresses of requests, where the proxy has left it on. Raises ImproperlyConfigured if
    addresses of Hilum begin with it, so that nobody could say whether it is on."""
    if not prefix:
        return application
    first = prefix.split("/")[1]
    if first in _first_parts(get_resolver()) | {"static"}:
        raise ImproperlyConfigured(
            f"HILUM_URL_PREFIX is {prefix}, and addresses of Hilum itself begin with /{first}; choose another one, "
            "such as /hilum."
        )

    def without_prefix(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path[len(prefix) :] or "/"
        return application(environ, start_response)

    return without_prefix


def _first_parts(resolver: URLResolver) -> set[str]:
    """Of the addresses of all pages, what stands before their second slash."""
    parts: set[str] = set()
    for pattern in resolver.url_patterns:
        route = str(pattern.pattern)
        if isinstance(pattern, URLResolver) and not route:
            parts |= _first_parts(pattern)
        elif isinstance(pattern, (URLPattern, URLResolver)):
            parts.add(route.split("/")[0])
    return parts
