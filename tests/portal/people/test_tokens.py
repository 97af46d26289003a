"""API tokens: made, used, ended, revoked, and what the audit has of it."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from portal.models import ApiToken, AuditEvent, Membership, User
from portal.people import tokens
from portal.people.tokens import InvalidToken, TokenRefused, make_token, revoke_token, token_of
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def made(owner: User | None = None, **fields: Any) -> tuple[ApiToken, str]:
    wanted = {"name": "nightly", "scope": "read", "days": 7} | fields
    return make_token(owner=owner or factories.curator(), **wanted)


def verbs() -> list[str]:
    return [event.verb for event in AuditEvent.objects.order_by("pk")]


def test_the_secret_is_random_recognisable_and_not_stored() -> None:
    token, secret = made()
    _, other = made(token.owner, name="other")
    assert secret != other
    assert secret.startswith("hilum_") and len(secret) > 45
    row = ApiToken.objects.filter(pk=token.pk).values().get()
    assert secret not in str(row) and secret not in str([*AuditEvent.objects.values()])
    assert secret.startswith(row["start"]) and len(row["start"]) == 12
    assert token_of(secret) == token


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "  "}, "Name the token after"),
        ({"name": "x" * 61}, "1 to 60 characters"),
        ({"scope": "all"}, "There is no scope 'all'; the scopes are read, write"),
        ({"days": 0}, "works for 7, 30, 90 or 365 days, not for 0"),
        ({"days": 10_000}, "not for 10000"),
    ],
)
def test_what_is_no_token_is_refused_with_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidToken, match=sentence):
        made(**fields)
    assert not ApiToken.objects.exists()


def test_a_name_is_free_again_once_its_token_has_ended() -> None:
    token, _ = made()
    with pytest.raises(InvalidToken, match="You have a token “nightly” already"):
        made(token.owner)
    made(factories.curator("other"))
    revoke_token(token=token)
    made(token.owner)


def test_there_is_an_end_to_the_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST", 1)
    token, _ = made()
    with pytest.raises(InvalidToken, match="revoke those that nothing uses"):
        made(token.owner, name="other")


def test_a_use_is_noted_to_the_minute() -> None:
    token, secret = made()
    assert token.last_used_at is None
    token_of(secret)
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None and timezone.now() - first < timedelta(minutes=1)
    token_of(secret)
    token.refresh_from_db()
    assert token.last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    token_of(secret)
    token.refresh_from_db()
    assert token.last_used_at is not None and token.last_used_at >= first


def test_a_use_after_the_end_is_refused_and_audited_once_an_hour() -> None:
    token, secret = made()
    ended = timezone.now() - timedelta(days=1)
    ApiToken.objects.update(expires_at=ended)
    for _ in range(3):
        with pytest.raises(TokenRefused, match=f"“nightly” ended on {ended:%Y-%m-%d}"):
            token_of(secret)
    assert verbs() == ["make token", "use ended token"]
    ApiToken.objects.update(refused_at=timezone.now() - timedelta(hours=2))
    with pytest.raises(TokenRefused):
        token_of(secret)
    assert verbs() == ["make token", "use ended token", "use ended token"]
    token.refresh_from_db()
    assert token.last_used_at is None
    event = AuditEvent.objects.latest("pk")
    assert (event.target_uuid, event.actor) == (token.uuid, token.owner)


def test_a_revoked_token_is_refused_and_revoking_is_audited_once() -> None:
    token, secret = made()
    revoke_token(token=token)
    revoke_token(token=token)
    with pytest.raises(TokenRefused, match="was revoked on"):
        token_of(secret)
    assert verbs() == ["make token", "revoke token", "use ended token"]
    assert AuditEvent.objects.get(verb="make token").after["name"] == "nightly"


def test_a_token_stops_with_its_owner() -> None:
    token, secret = made()
    User.objects.filter(pk=token.owner.pk).update(is_active=False)
    with pytest.raises(TokenRefused, match="account of this token's owner is closed"):
        token_of(secret)
    User.objects.filter(pk=token.owner.pk).update(is_active=True)
    Membership.objects.all().delete()
    with pytest.raises(TokenRefused, match="not a member of any site any more"):
        token_of(secret)
    User.objects.filter(pk=token.owner.pk).update(is_superuser=True)
    assert token_of(secret) == token


def test_a_token_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TokenRefused, match="no such token"):
        token_of("hilum_made-up")
    assert verbs() == []


def test_tokens_of_before_an_upgrade_go_on_for_ninety_days() -> None:
    owner, key = factories.curator(), "0123456789abcdef" * 2 + "01234567"
    editor = connection.schema_editor()  # not entered, which SQLite refuses within a transaction
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, user_id integer)")
        cursor.execute("INSERT INTO authtoken_token VALUES (%s, %s)", [key, owner.pk])
        migration = import_module("portal.migrations.0043_tokens_from_before")
        migration.take_over(apps, editor)
        migration.take_over(apps, editor)  # nothing is left to take over
    token = token_of(key)
    assert (token.owner, token.scope) == (owner, "write")
    assert timedelta(days=89) < token.expires_at - timezone.now() < timedelta(days=91)
    assert "authtoken_token" not in connection.introspection.table_names()
