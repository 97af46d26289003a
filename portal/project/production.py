"""What a production installation refuses to start with, unless HILUM_ACCEPT names it."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

from django.core.exceptions import ImproperlyConfigured

# The words of HILUM_ACCEPT, and what each accepts
RISKS = {
    "weak-secret": "a HILUM_SECRET_KEY that can be guessed",
    "any-host": "requests for any host name",
    "sqlite": "a SQLite database",
    "embedded-broker": "a broker that is no server of its own",
}
FEWEST_SIGNS = 10  # different characters of a secret; 40 random hexadecimal digits have fewer once in a million times
FEWEST_BITS = 80.0  # by the frequencies of its characters; 40 random hexadecimal digits have over 100
# Parts of secrets that stand in examples, or that fingers find by themselves
_EXAMPLES = (
    *("django-insecure", "change", "secret", "example", "password", "default", "insecure", "hilum", "replace", "dummy"),
    *("admin", "letmein", "sample", "placeholder", "1234567", "qwert", "asdfg", "zxcvb", "1q2w3e"),
)


def check(
    *, secret_key: str, hosts: Collection[str], database: Mapping[str, Any], broker: str, accepted: Collection[str]
) -> None:
    """Raises ImproperlyConfigured with the first risk that is there and not accepted, or a word that is no risk."""
    for word in accepted:
        if word not in RISKS:
            raise ImproperlyConfigured(f"HILUM_ACCEPT has {word!r}; expected words of {', '.join(RISKS)}.")
    there = {
        "weak-secret": weakness(secret_key),
        "any-host": "HILUM_ALLOWED_HOSTS has a host that stands for all hosts; name the hosts of this installation."
        if any(host in ("*", ".") for host in hosts)
        else "",
        "sqlite": "DATABASE_URL is SQLite, which several servers and workers cannot share; use PostgreSQL."
        if "sqlite" in database["ENGINE"]
        else "",
        "embedded-broker": "HILUM_BROKER_URL is not a server; use redis:// or rediss:// with the host of Valkey."
        if not broker.startswith(("redis://", "rediss://"))
        else "",
    }
    for risk, sentence in there.items():
        if sentence and risk not in accepted:
            raise ImproperlyConfigured(f"{sentence} To accept {RISKS[risk]}, set HILUM_ACCEPT={risk}.")


def weakness(secret: str, name: str = "HILUM_SECRET_KEY") -> str:
    """Why a secret can be guessed, as a sentence without the secret; empty if it looks random."""
    signs = len(set(secret))
    reason = ""
    if signs < FEWEST_SIGNS:
        reason = f"has {signs} different characters"
    elif any(example in secret.casefold() for example in _EXAMPLES):
        reason = "contains a word that stands in examples"
    elif secret in secret[1:] + secret[:-1]:
        reason = "repeats a part of itself"
    elif _bits(secret) < FEWEST_BITS:
        reason = "is mostly the same characters"
    elif _in_order(secret) > len(secret) / 2:
        reason = "is mostly characters in alphabetical order"
    advice = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))" prints a good one'
    return f"{name} {reason}, so that it can be guessed; {advice}." if reason else ""


def _bits(text: str) -> float:
    """The information in a text whose characters are drawn by its own frequencies."""
    return sum(-count * math.log2(count / len(text)) for count in Counter(text).values())


def _in_order(text: str) -> int:
    """How many characters follow their neighbour in the alphabet, forwards or backwards, or repeat it."""
    return sum(abs(ord(one) - ord(next_one)) <= 1 for one, next_one in pairwise(text))
