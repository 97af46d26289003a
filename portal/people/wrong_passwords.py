"""How wrong passwords are counted: guessing is slow, and nobody who guesses keeps the owner of an account out.

A browser in which somebody has logged in carries a proof of it, and is counted by itself. All others are counted by
account and address, by address, and, far higher, by account alone, for guesses that come from many addresses."""

import secrets
from collections.abc import Iterator

from allauth.core.internal import ratelimit
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

COOKIE = "hilum-browser"
TOO_MANY = (
    "Too many wrong passwords. Wait five minutes, then try again; a manager of your site can give you a new link."
)
TOO_MANY_PLACES = (
    "Too many wrong passwords were given for this account, from several places. Log in from a browser in which you "
    "have logged in before, or ask a manager of your site for a new link; administrators make theirs by manage.py "
    "password_link."
)
_KEPT_SECONDS = 365 * 86_400
_PROOFS = 20  # people of a shared machine whom its browser knows


class TooManyGuesses(Exception):
    """A sentence for whoever logs in."""


def count(request: HttpRequest, username: str) -> list[ratelimit.RateLimitUsage]:
    """Count an attempt, which `take_back` undoes if the password is right. Raises TooManyGuesses."""
    account = username.lower()
    if browser := _known_browser(request, username):
        return [_consume(request, "wrong_password_known", f"{browser}:{account}", TOO_MANY)]
    here = _consume(request, "wrong_password", f"{ratelimit.get_ip(request)}:{account}", TOO_MANY)
    return [here, _consume(request, "wrong_password_anywhere", account, TOO_MANY_PLACES)]


def take_back(counted: list[ratelimit.RateLimitUsage]) -> None:
    """Only this attempt: after wiping all, an own log-in now and then would make room for guesses at others."""
    for usage in counted:
        usage.rollback()


def remember_browser(request: HttpRequest, response: HttpResponse, username: str) -> None:
    """The person has shown that the account is theirs: this browser is not counted with those of strangers again."""
    browser, proofs = _sent(request)
    browser = browser or secrets.token_urlsafe(16)
    proof = _proof(browser, username)
    kept = [proof, *(other for other in proofs if other != proof)][:_PROOFS]
    response.set_cookie(
        COOKIE,
        ".".join([browser, *kept]),
        max_age=_KEPT_SECONDS,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _consume(request: HttpRequest, action: str, key: str, refusal: str) -> ratelimit.RateLimitUsage:
    usage = ratelimit.consume(request, app="allauth.account", action=action, key=key, limit_get=True)
    if usage is None:
        raise TooManyGuesses(refusal)
    return usage


def _known_browser(request: HttpRequest, username: str) -> str:
    """Its random name, if this account has logged in there; else empty. By the name as it is written: the owner of
    another account Kim could show as many browsers of their own as they like, and guess at kim in each."""
    browser, proofs = _sent(request)
    expected = _proof(browser, username)
    return browser if any(constant_time_compare(proof, expected) for proof in proofs) else ""


def _sent(request: HttpRequest) -> tuple[str, list[str]]:
    browser, *proofs = request.COOKIES.get(COOKIE, "").split(".")
    known: Iterator[str] = (proof for proof in proofs if len(proof) == 64)
    return (browser, list(known)[:_PROOFS]) if 20 <= len(browser) <= 30 else ("", [])


def _proof(browser: str, username: str) -> str:
    """Without the name in it: the cookie says of nobody that they worked there."""
    return salted_hmac(f"{__name__}:{browser}", username, algorithm="sha256").hexdigest()
