"""Requests of people who are signed in: every page and address of the API but a few. For the types."""

from typing import Any

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from portal.models import Site, User


class SignedInRequest(HttpRequest):
    user: User
    hilum_site: Site | None  # the site whose lists the person sees; None for a member of none
    htmx: HtmxDetails


def person(request: Any) -> User:
    """Who sends a request of the API."""
    assert isinstance(request.user, User)
    return request.user
