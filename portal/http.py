"""Who asks, and at which site: what the middleware put on a request, with its type."""

from typing import TypeAlias

from django.http import HttpRequest
from rest_framework.request import Request as ApiRequest

from portal.models import Site, User

AnyRequest: TypeAlias = HttpRequest | ApiRequest


def person(request: AnyRequest) -> User:
    """The one who is logged in; nobody else gets as far as a view."""
    assert isinstance(request.user, User)
    return request.user


def current_site(request: HttpRequest) -> Site | None:
    """The site whose lists the person sees; None for a member of none."""
    site = getattr(request, "hilum_site", None)
    assert site is None or isinstance(site, Site)
    return site


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for news of a part of a page."""
    htmx = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not htmx.boosted
