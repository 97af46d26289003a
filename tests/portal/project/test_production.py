"""What production refuses to start with, and the one setting that accepts it."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.project.production import RISKS, check, weakness

SAFE: dict[str, Any] = {
    "secret_key": "kZ3vQ9xTq1mWc7Yb5Hd8RfJs2LgNp4Ua6EoXiVyD",
    "hosts": ["portal.example.org", ".example.org"],
    "database": {"ENGINE": "django.db.backends.postgresql"},
    "broker": "redis://broker:6379/0",
    "accepted": [],
}
UNSAFE = {
    "weak-secret": ({"secret_key": "a" * 48}, "HILUM_SECRET_KEY has 1 different characters"),
    "any-host": ({"hosts": ["portal.example.org", "*"]}, "HILUM_ALLOWED_HOSTS has a host that stands for all hosts"),
    "sqlite": ({"database": {"ENGINE": "django.db.backends.sqlite3"}}, "DATABASE_URL is SQLite"),
    "embedded-broker": ({"broker": "redis+socket:///data/run/broker.sock"}, "HILUM_BROKER_URL is not a server"),
}


def test_a_safe_installation_starts() -> None:
    check(**SAFE)
    check(**SAFE | {"broker": "rediss://broker:6379/0"})


@pytest.mark.parametrize("risk", RISKS)
def test_each_risk_is_refused_with_the_word_that_accepts_it(risk: str) -> None:
    change, sentence = UNSAFE[risk]
    with pytest.raises(ImproperlyConfigured, match=f"^{sentence}.*HILUM_ACCEPT={risk}\\.$"):
        check(**SAFE | change)
    with pytest.raises(ImproperlyConfigured, match=sentence):  # another word accepts nothing
        check(**SAFE | change | {"accepted": [word for word in RISKS if word != risk]})
    check(**SAFE | change | {"accepted": [risk]})


def test_a_word_that_is_no_risk_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="HILUM_ACCEPT has 'everything'; expected words of weak-secret, "):
        check(**SAFE | {"accepted": ["everything"]})


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("a" * 48, "has 1 different characters"),
        ("0123456789" * 5, "contains a word that stands in examples"),
        ("django-insecure-" + SAFE["secret_key"], "contains a word that stands in examples"),
        ("Change-me-" + SAFE["secret_key"], "contains a word that stands in examples"),
        ("qW3rZx9kLm" * 5, "repeats a part of itself"),
        ("Placeholder-" + SAFE["secret_key"], "contains a word that stands in examples"),
        ("x" * 31 + "bcEdZ9f4h", "is mostly the same characters"),
        ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN", "is mostly characters in alphabetical order"),
        ("zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONM", "is mostly characters in alphabetical order"),
    ],
)
def test_a_secret_that_can_be_guessed_is_named_without_being_shown(secret: str, reason: str) -> None:
    sentence = weakness(secret)
    assert sentence.startswith(f"HILUM_SECRET_KEY {reason}, so that it can be guessed; ")
    assert secret not in sentence


def test_random_secrets_of_usual_kinds_are_not_weak() -> None:
    for make in (lambda: secrets.token_urlsafe(48), lambda: secrets.token_hex(20), lambda: secrets.token_hex(32)):
        assert [weakness(make()) for _ in range(200)] == [""] * 200
