"""Reports of errors to a Sentry server, by a setting alone: without HILUM_SENTRY_DSN nothing is loaded or sent.

What leaves the installation is the kind of an error, the places in the program, the release, and the request's
identifier, by which an administrator finds the lines of the log. Everything else is taken out, whatever the library
puts in: texts of exceptions, values of variables, addresses, headers, cookies, people, names of machines.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from portal.project.logs import REQUEST_ID

_KEPT = ("event_id", "timestamp", "platform", "level", "release", "environment", "sdk")
_KEPT_OF_FRAME = ("filename", "abs_path", "function", "module", "lineno", "in_app")


def start(address: str, *, environment: str) -> None:
    try:
        sentry = import_module("sentry_sdk")
    except ImportError:
        raise ImproperlyConfigured(
            "HILUM_SENTRY_DSN is set, and sentry-sdk is not installed: pip install -e '.[sentry]', or leave it out."
        ) from None
    sentry.init(
        dsn=address,
        environment=environment,
        release=f"hilum@{version('hilum')}",
        before_send=scrub,
        before_send_transaction=lambda event, hint: None,
        traces_sample_rate=0.0,
        max_breadcrumbs=0,
        include_local_variables=False,
        include_source_context=False,
        send_default_pii=False,
        max_request_body_size="never",
    )


def scrub(event: dict[str, Any], hint: Any = None) -> dict[str, Any]:
    """What may leave, and no more: fields are taken over by name, so that a new one of the library stays here."""
    kept = {name: event[name] for name in _KEPT if name in event}
    exceptions = event.get("exception", {}).get("values", [])
    kept["exception"] = {"values": [_without_values(one) for one in exceptions]}
    kept["tags"] = {"request": REQUEST_ID.get()}
    if not exceptions:
        kept["message"] = f"An error was logged by {event.get('logger', 'an unknown logger')}."
    return kept


def _without_values(exception: dict[str, Any]) -> dict[str, Any]:
    frames = (exception.get("stacktrace") or {}).get("frames", [])
    places = [{name: frame[name] for name in _KEPT_OF_FRAME if name in frame} for frame in frames]
    return {"type": exception.get("type"), "module": exception.get("module"), "stacktrace": {"frames": places}}
