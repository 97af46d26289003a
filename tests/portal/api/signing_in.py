"""A client of the API that signs in with a token, as a script does."""

from __future__ import annotations

from django.test import Client
from rest_framework.authtoken.models import Token

from portal.models import User


def with_token(person: User) -> Client:
    return Client(headers={"Authorization": f"Token {Token.objects.create(user=person)}"})
