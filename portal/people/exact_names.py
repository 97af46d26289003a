"""Log-in where the names of two accounts differ in case alone, as those of earlier releases may."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from portal.models import User


class ExactNames(ModelBackend):
    """Asks the account whose name is written like that. allauth's backend, which comes after it, takes names in any
    case and lets neither of the two in: whoever made an account Boss would have kept boss out."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        people = list(User.objects.filter(username__iexact=username)[:2]) if username and password else []
        if len(people) < 2:
            return None
        person = User.objects.filter(username=username, is_active=True).first()
        return person if person is not None and person.check_password(str(password)) else None
