"""What the application's role may do in a real PostgreSQL, and what only the owner may."""

from __future__ import annotations

import io
from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from portal.models import AuditEvent
from portal.people import audit
from portal.people.audit_chain import seal_all
from portal.project.application_role import owns_tables
from tests.portal import factories

ROLE, PASSWORD = "hilum_app_in_tests", "a password in tests"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    call_command("application_role", "--role", ROLE)
    owner = connection.get_connection_params()
    address = {name: owner[name] for name in ("host", "port", "dbname") if name in owner}
    with psycopg.connect(**address, user=ROLE, password=PASSWORD, autocommit=True) as as_role:
        yield as_role
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {ROLE}")
        cursor.execute(f"DROP ROLE {ROLE}")


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE portal_auditevent CASCADE",
        "TRUNCATE portal_exposure",
        "ALTER TABLE portal_auditevent DISABLE TRIGGER ALL",
        "DROP TRIGGER portal_auditevent_guard ON portal_auditevent",
        "CREATE OR REPLACE FUNCTION hilum_refuse_portal_auditevent() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END;'",
        "SET session_replication_role = replica",
        "CREATE TABLE more (id int)",
        "DELETE FROM django_migrations",
    ],
)
def test_what_is_refused(role: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        role.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE portal_auditevent SET verb = 'x'", "DELETE FROM portal_auditseal"])
def test_the_guards_hold_for_the_role(role: psycopg.Connection, statement: str) -> None:
    audit.record(verb="test", site=factories.site(), actor=None)
    seal_all()
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        role.execute(statement)


def test_rows_can_be_read_and_written(role: psycopg.Connection) -> None:
    site = factories.site()
    audit.record(verb="test", site=site, actor=None)
    assert role.execute("SELECT count(*) FROM portal_auditevent").fetchone() == (1,)
    role.execute("UPDATE portal_site SET name = 'Busan'")
    site.refresh_from_db()
    assert site.name == "Busan"
    assert AuditEvent.objects.count() == 1


def test_a_second_time_and_who_owns_the_tables(role: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    call_command("application_role", "--role", ROLE)
    assert owns_tables()
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {ROLE}")
        try:
            assert not owns_tables()
        finally:
            cursor.execute("RESET ROLE")


@pytest.mark.parametrize(
    ("name", "password", "sentence"),
    [
        ("Hilum App", PASSWORD, "--role Hilum App: lower-case letters"),
        (ROLE, "short", "has 5 characters; use 12."),
    ],
)
def test_refused_arguments(name: str, password: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    with pytest.raises(CommandError, match=sentence):
        call_command("application_role", "--role", name)


def test_the_owner_cannot_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    with pytest.raises(CommandError, match="owns the tables"):
        call_command("application_role", "--role", connection.settings_dict["USER"])
