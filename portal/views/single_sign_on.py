"""The way to the OpenID Connect provider, and back."""

from typing import Any

from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from requests import RequestException

from portal.people.single_sign_on import NONE, CheckedProvider, logger, to_log_in


@login_not_required
@require_GET
def leave(request: HttpRequest, provider_id: str) -> HttpResponse:
    return _through(OAuth2LoginView, request, provider_id)


@login_not_required
@require_GET
def come_back(request: HttpRequest, provider_id: str) -> HttpResponse:
    return _through(OAuth2CallbackView, request, provider_id)


def _through(view: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    adapter = CheckedProvider(request, provider_id)
    try:
        response: HttpResponse = view.adapter_view(adapter)(request)
        return response
    except SocialApp.DoesNotExist:
        return _to_log_in(request, NONE)
    except (RequestException, KeyError, ValueError, TypeError) as problem:  # what a broken provider leads to
        name = adapter.get_provider().name
        logger.warning("%s cannot be used: %s", name, repr(problem)[:300])
        return _to_log_in(
            request,
            f"{name} does not answer as it should. If you have a password, log in with it; otherwise try "
            "again later, or ask an administrator.",
        )


def _to_log_in(request: HttpRequest, sentence: str) -> HttpResponse:
    response: HttpResponse = to_log_in(request, sentence)
    return response
