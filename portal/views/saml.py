"""The way to the SAML provider, and back."""

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

from allauth.core.internal import ratelimit
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import complete_social_login
from allauth.socialaccount.internal.statekit import STATE_TTL
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.sessions import LoginSession
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from portal.people import single_sign_on

_COOKIE = "saml-answer"  # of the address `finish` alone
_KEY = "answer"


def _with_provider(view: Callable[[HttpRequest, Any], Any]) -> Callable[[HttpRequest], HttpResponse]:
    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        try:
            provider = get_adapter().get_app(request, provider="saml").get_provider(request)
        except SocialApp.DoesNotExist:
            if request.method == "POST":  # see `receive`: a sentence would be kept in a session
                return redirect("login")
            return _to_log_in(request, single_sign_on.NONE)
        response: HttpResponse = view(request, provider)
        return response

    return wrapped


@login_not_required
@require_GET
@_with_provider
def leave(request: HttpRequest, provider: Any) -> Any:
    from portal.people import saml_assertions  # which needs the extra `saml`

    address, question = saml_assertions.ask(_service(request, provider))
    provider.stash_redirect_state(request, state_id=question, **provider.get_redirect_from_request_kwargs(request))
    return redirect(address)


@csrf_exempt
@login_not_required
@require_POST
@_with_provider
def receive(request: HttpRequest, provider: Any) -> Any:
    """A page of the provider posts here, from another site: without the cookie of the session, which is Lax, and
    without a token against forged forms. So the session is neither read nor written (a new one would replace that of
    the browser), and a forged answer is kept nowhere. What a good one says waits for `finish`, which the browser asks
    for with all its cookies."""
    from portal.people import saml_assertions

    if single_sign_on.are_too_many(request):
        return ratelimit.respond_429(request)
    response = redirect("saml_finish_acs")
    try:
        names = provider.app.settings["attribute_mapping"]
        answer = saml_assertions.read(request.POST.get("SAMLResponse", ""), _service(request, provider), names)
    except saml_assertions.AnswerRefused as problem:
        single_sign_on.note_failure(request, provider.name, str(problem), repr(problem.__cause__)[:300])
        return response
    kept = LoginSession(request, "saml_answer", _COOKIE)
    kept.store[_KEY] = asdict(answer)
    kept.store.set_expiry(STATE_TTL)
    kept.save(response)
    response.cookies[_COOKIE]["httponly"] = True
    return response


@login_not_required
@require_GET
@_with_provider
def finish(request: HttpRequest, provider: Any) -> Any:
    from portal.people import saml_assertions

    kept = LoginSession(request, "saml_answer", _COOKIE)
    waiting = kept.store.get(_KEY)
    kept.delete()
    if waiting is None:
        return _to_log_in(request, single_sign_on.FAILED.format(name=provider.name))
    answer = saml_assertions.SamlAnswer(**waiting)
    try:
        state = provider.unstash_redirect_state(request, answer.question)
    except PermissionDenied:
        single_sign_on.note_failure(request, provider.name, "this browser did not ask, or too long ago", "")
        return _to_log_in(request, single_sign_on.FAILED.format(name=provider.name))
    login = provider.sociallogin_from_response(request, answer)
    login.account.extra_data = {}  # names and groups stay with the provider
    login.state = state
    return complete_social_login(request, login)


@login_not_required
@require_GET
@_with_provider
def metadata(request: HttpRequest, provider: Any) -> Any:
    """What the provider has to know of Hilum."""
    from portal.people import saml_assertions

    xml = saml_assertions.metadata(_service(request, provider))
    return HttpResponse(xml, content_type="application/samlmetadata+xml")


def _service(request: HttpRequest, provider: Any) -> Any:
    from portal.people import saml_assertions

    return saml_assertions.service(
        provider.app.settings["idp"],
        entity_id=request.build_absolute_uri(reverse("saml_metadata")),
        answer_url=request.build_absolute_uri(reverse("saml_acs")),
    )


def _to_log_in(request: HttpRequest, sentence: str) -> HttpResponse:
    response: HttpResponse = single_sign_on.to_log_in(request, sentence)
    return response
