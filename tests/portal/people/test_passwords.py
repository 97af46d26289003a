"""Passwords that are long enough and still easily guessed are refused."""

from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from portal.models import User
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.mark.parametrize(
    "password",
    ["hilumhilum", "rosarosa12", "Seoul-Seoul-2026", "HilumSeoul1!", "abababababab", "password12345", "Garcia.Rosa.99"],
)
def test_what_others_know_is_refused(password: str) -> None:
    factories.site("Seoul")
    with pytest.raises(ValidationError):
        validate_password(password, User(username="rosa", first_name="Rosa", last_name="Garcia"))


@pytest.mark.parametrize("password", ["rosarosa12", "tigertiger12", "Tiger-tiger-2026", "19kimchikimchi"])
def test_a_repeated_word_is_refused_of_everybody(password: str) -> None:
    with pytest.raises(ValidationError, match="repeated"):
        validate_password(password, User(username="anna"))


@pytest.mark.parametrize("password", ["show-me-the-films", "four rusty kettles", "xK7#vm2Lq9", "rosa's violet bicycle"])
def test_others_are_taken(password: str) -> None:
    factories.site("Seoul")
    validate_password(password, User(username="rosa", first_name="Rosa", last_name="Garcia"))
