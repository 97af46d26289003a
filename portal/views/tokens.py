"""The page of a person's API tokens."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from portal.models import ApiToken
from portal.people.signed_in import SignedInRequest
from portal.people.tokens import DAYS, InvalidToken, ended_tokens, make_token, revoke_token, working_tokens

_DEFAULT_DAYS = 90
_SHOWN_ENDED = 20


@require_GET
def tokens(request: SignedInRequest) -> HttpResponse:
    return _page(request)


@require_POST
@sensitive_variables("secret")
def make(request: SignedInRequest) -> HttpResponse:
    """The page with the new token, which no other page shows again."""
    days = request.POST.get("days", "")
    try:
        _, secret = make_token(
            owner=request.user,
            name=request.POST.get("name", ""),
            scope=request.POST.get("scope", ""),
            days=int(days) if days.isascii() and days.isdecimal() and len(days) < 9 else 0,
        )
    except InvalidToken as refusal:
        return _page(request, fault=str(refusal))
    return _page(request, secret=secret)


@require_POST
def revoke(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    token = get_object_or_404(ApiToken, uuid=uuid, owner=request.user)
    revoke_token(token=token)
    messages.success(request, f"“{token.name}” is revoked: whatever uses it is refused from now on.")
    return redirect("portal:tokens")


def _page(request: SignedInRequest, *, fault: str = "", secret: str = "") -> HttpResponse:
    context = {
        "account": "tokens",
        "working": working_tokens(request.user).order_by("-pk"),
        "ended": ended_tokens(request.user).order_by("-pk")[:_SHOWN_ENDED],
        "scopes": ApiToken.Scope.choices,
        "lifetimes": DAYS,
        "sent": request.POST if fault else {"scope": ApiToken.Scope.READ, "days": str(_DEFAULT_DAYS)},
        "fault": fault,
        "secret": secret,
    }
    return render(request, "portal/tokens.html", context, status=400 if fault else 201 if secret else 200)
