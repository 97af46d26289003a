"""Passwords that are long enough and still easily guessed."""

import re
from typing import Any

from django.core.exceptions import ValidationError

from portal.models import Site

LEAST_REPEATED = 8  # characters of something that is written again and again, such as tigertiger12
LEAST_LEFT = 5  # characters that are neither a known word nor digits at the end
COMMON = ("hilum", "password", "passwort", "hospital", "radiology", "welcome", "admin", "xray", "chest")


class GuessableValidator:
    """Refuses a password that is made of the person's names, the sites' names or a few common words, however often
    repeated and whatever digits follow, of any short word that is repeated, or of fewer than five different
    characters."""

    def validate(self, password: str, user: Any = None) -> None:
        if len(set(password)) < LEAST_LEFT:
            raise ValidationError(f"The password has fewer than {LEAST_LEFT} different characters.")
        left = re.sub(r"[\W\d_]+", "", password.lower())
        repeated = re.fullmatch(r"(.+?)\1+", left)
        if repeated and len(repeated[1]) < LEAST_REPEATED:
            raise ValidationError("A short word that is repeated makes no password; use several different ones.")
        for word in sorted(_known_words(user), key=len, reverse=True):
            left = left.replace(word, "")
        if len(left) < LEAST_LEFT:
            raise ValidationError(self.get_help_text())

    def get_help_text(self) -> str:
        return "A password is not made of your name, the name of a site, or a common word with digits after it."


def _known_words(user: Any) -> set[str]:
    names = [getattr(user, name, "") or "" for name in ("username", "first_name", "last_name", "email")]
    words = {word for name in [*names, *Site.objects.values_list("name", flat=True)] for word in _words(name)}
    return {*words, *COMMON}


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", name.lower()) if len(word) >= 3]
