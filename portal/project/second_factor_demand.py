"""Leads a person who has to have a second factor, and has none, to the page where it is set up, and nowhere else."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.people.second_factors import is_missing
from portal.views.frame import error_page

SENTENCE = "This installation asks you for a second factor: set up an authenticator app or a security key first."
_OPEN = {"login", "account_login", "logout", "account_reauthenticate", "change-password", "healthz", "readyz"}


class SecondFactorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if settings.SECOND_FACTOR == "nobody" or not request.user.is_authenticated:
            return None
        name = request.resolver_match.view_name if request.resolver_match else ""
        if name in _OPEN or name.startswith("mfa_") or name == "portal:choose-theme" or not is_missing(request.user):
            return None
        asks_for_page = request.method == "GET" and request.accepts("text/html") and not name.startswith("api-")
        return redirect("mfa_index") if asks_for_page else error_page(request, "Not allowed", SENTENCE, 403)
