"""The entry point for ASGI servers."""

from __future__ import annotations

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from portal.asgi import application


def test_it_is_djangos_handler_with_our_settings() -> None:
    assert isinstance(application, ASGIHandler)
    assert settings.ROOT_URLCONF == "portal.urls"
