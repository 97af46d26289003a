"""A client of the API that signs in with a token, as a script does."""

from __future__ import annotations

from django.test import Client

from portal.models import User
from tests.portal import factories


def with_token(person: User, *, scope: str = "write") -> Client:
    return Client(headers={"Authorization": f"Token {factories.api_token(person, scope)}"})
