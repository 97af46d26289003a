"""API tokens: a person makes them, sees when they were last used, and revokes them. Of a token's secret only the
SHA-256 is stored, which is enough for 256 random bits."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from portal.models import ApiToken, Membership, User
from portal.people import audit
from portal.people.second_factors import is_missing

DAYS = (7, 30, 90, 365)  # for which a token may work
MOST = 50  # tokens of a person that work at a time
PREFIX = "hilum_"  # by which searches for secrets in files recognise one
_LAST_USE_EVERY = timedelta(minutes=1)
_REFUSAL_EVERY = timedelta(hours=1)  # the audit has one use in an hour: a script may try each second


class InvalidToken(Exception):
    """A sentence for the person who makes a token."""


class TokenRefused(Exception):
    """A sentence for the script that sent the token."""


@transaction.atomic
def make_token(*, owner: User, name: str, scope: str, days: int) -> tuple[ApiToken, str]:
    """The token and its secret, which is not shown again. Raises InvalidToken."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 60:
        raise InvalidToken("Name the token after the script or machine that uses it, with 1 to 60 characters.")
    if scope not in ApiToken.Scope.values:
        raise InvalidToken(f"There is no scope {scope[:20]!r}; the scopes are {', '.join(ApiToken.Scope.values)}.")
    if days not in DAYS:
        raise InvalidToken(f"A token works for {', '.join(map(str, DAYS[:-1]))} or {DAYS[-1]} days, not for {days}.")
    User.objects.select_for_update().get(pk=owner.pk)  # two requests at once must not make two of one name
    working = working_tokens(owner)
    if working.filter(name=name).exists():
        raise InvalidToken(f"You have a token “{name}” already: choose another name, or revoke that one first.")
    if working.count() >= MOST:
        raise InvalidToken(f"You have {MOST} tokens that work: revoke those that nothing uses first.")
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        owner=owner,
        name=name,
        scope=scope,
        sha256=sha256_of(secret),
        start=secret[:12],
        expires_at=timezone.now() + timedelta(days=days),
    )
    audit.record(verb="make token", site=None, actor=owner, target=token, after=_facts(token))
    return token, secret


@transaction.atomic
def revoke_token(*, token: ApiToken) -> None:
    """From now on it is refused. Revoking it again changes nothing."""
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        audit.record(verb="revoke token", site=None, actor=token.owner, target=token, before=_facts(token))


def working_tokens(owner: User) -> QuerySet[ApiToken]:
    return ApiToken.objects.filter(owner=owner, revoked_at=None, expires_at__gt=timezone.now())


def ended_tokens(owner: User) -> QuerySet[ApiToken]:
    return ApiToken.objects.filter(owner=owner).exclude(pk__in=working_tokens(owner))


def token_of(secret: str) -> ApiToken:
    """The token, whose owner the request is made for; its use is noted. Raises TokenRefused."""
    is_member = Exists(Membership.objects.filter(user=OuterRef("owner")))
    tokens = ApiToken.objects.select_related("owner").annotate(is_of_member=is_member)
    token = tokens.filter(sha256=sha256_of(secret)).first()
    if token is None:
        raise TokenRefused("There is no such token. Make one in Hilum, under your name, API tokens.")
    now = timezone.now()
    if sentence := _why_it_ended(token, now):
        _note_refusal(token, now, sentence)
        raise TokenRefused(sentence)
    if not token.owner.is_active:
        raise TokenRefused("The account of this token's owner is closed.")
    if is_missing(token.owner):
        raise TokenRefused("The owner of this token has to set up a second factor first, in Hilum, under their name.")
    if not token.owner.is_superuser and not token.is_of_member:
        raise TokenRefused("The owner of this token is not a member of any site any more.")
    if token.last_used_at is None or token.last_used_at < now - _LAST_USE_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def sha256_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _why_it_ended(token: ApiToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return f"The token “{token.name}” was revoked on {token.revoked_at:%Y-%m-%d}."
    if token.expires_at <= now:
        return f"The token “{token.name}” ended on {token.expires_at:%Y-%m-%d}. Make another one in Hilum."
    return ""


@transaction.atomic
def _note_refusal(token: ApiToken, now: datetime, sentence: str) -> None:
    unnoted = Q(refused_at=None) | Q(refused_at__lt=now - _REFUSAL_EVERY)
    if ApiToken.objects.filter(unnoted, pk=token.pk).update(refused_at=now):
        audit.record(verb="use ended token", site=None, actor=token.owner, target=token, reason=sentence)


def _facts(token: ApiToken) -> dict[str, Any]:
    return {"name": token.name, "scope": token.scope, "ends": f"{token.expires_at:%Y-%m-%d}"}
