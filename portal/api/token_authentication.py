"""Signs a script in by its token, `Authorization: Token ...`, in the name of the token's owner."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from portal.models import ApiToken, User
from portal.people.tokens import TokenRefused, token_of

KEYWORD = "Token"


class TokenAuthentication(BaseAuthentication):
    """The scope is checked here, before any view: none can forget it."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        words = get_authorization_header(request).decode("latin-1").split()
        if not words or words[0].lower() not in ("token", "bearer"):
            return None
        if len(words) != 2:
            raise AuthenticationFailed(
                "The header Authorization has no token, or one with spaces: send “Token ” and the token."
            )
        try:
            token = token_of(words[1])
        except TokenRefused as refusal:
            raise AuthenticationFailed(str(refusal)) from refusal
        if token.scope == ApiToken.Scope.READ and request.method not in SAFE_METHODS:
            raise PermissionDenied(
                f"The token “{token.name}” only reads, and {request.method} changes something. Make a token that reads "
                "and writes in Hilum, under your name, API tokens."
            )
        return token.owner, token

    def authenticate_header(self, request: Request) -> str:
        return KEYWORD


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "portal.api.token_authentication.TokenAuthentication"
    name = "tokenAuth"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "“Token ” and an API token. One that only reads gets 403 for whatever changes something.",
        }
