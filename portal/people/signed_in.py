"""Types of the requests of signed-in people, which almost all pages and API endpoints serve."""

from typing import Any, cast

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from portal.models import Site, User


class SignedInRequest(HttpRequest):
    user: User
    hilum_site: Site | None  # the site whose lists the person sees; None without a membership
    htmx: HtmxDetails


def page_request(request: Any) -> SignedInRequest:
    """Return the request of an API request as the pages take it."""
    return cast(SignedInRequest, request._request)


def person(request: Any) -> User:
    """Return the user who sent an API request."""
    assert isinstance(request.user, User)
    return request.user
