from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRefresh

from portal.access import sites_of


class CurrentSiteMiddleware:
    """`request.hilum_site`: the site whose lists the person sees, kept in the session; None for a stranger."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.hilum_site = None  # type: ignore[attr-defined]
        if request.user.is_authenticated:
            sites = sites_of(request.user)
            chosen = request.session.get("site")
            request.hilum_site = (  # type: ignore[attr-defined]
                sites.filter(uuid=chosen).first() if chosen else None
            ) or sites.order_by("name").first()
        return self.get_response(request)


def log_in_again(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Where a part of a page is asked for after the session has ended, the whole page is loaded again, and leads to
    the log-in; or else the log-in page would stand inside the part."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.htmx and not request.user.is_authenticated and response.status_code == 302:  # type: ignore[attr-defined]
            return HttpResponseClientRefresh()
        return response

    return answer
