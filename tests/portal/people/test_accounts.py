"""Log-in: its limit, its audit, and its sentence for closed accounts."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from portal.models import AuditEvent
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _no_counts() -> None:
    cache.clear()


def log_in(client: Client, name: str, password: str) -> str:
    return one_line(client.post("/accounts/login/", {"login": name, "password": password}, follow=True))


def test_after_five_wrong_passwords_even_the_right_one_waits_but_not_other_people(client: Client) -> None:
    factories.curator("kim")
    factories.curator("lee")
    for _ in range(5):
        assert "do not match an account" in log_in(client, "kim", "wrong")
    assert "Too many wrong passwords. Wait five minutes" in log_in(client, "kim", factories.PASSWORD)
    assert "_auth_user_id" not in client.session
    log_in(client, "lee", factories.PASSWORD)
    assert "_auth_user_id" in client.session


def test_a_new_installation_says_how_the_first_account_is_made(client: Client) -> None:
    page = one_line(client.get("/accounts/login/"))
    assert "Nobody has an account yet." in page
    assert "manage.py setup" in page
    assert "A manager of your site makes one" not in page
    factories.curator("kim")
    page = one_line(client.get("/accounts/login/"))
    assert "A manager of your site makes one" in page
    assert "manage.py setup" not in page


def test_right_passwords_do_not_count(client: Client) -> None:
    factories.curator("kim")
    for _ in range(12):
        log_in(client, "kim", factories.PASSWORD)
        assert "_auth_user_id" in client.session
        client.post("/accounts/logout/")


def test_log_ins_are_audited_without_what_may_be_a_password(client: Client) -> None:
    kim = factories.curator("kim")
    log_in(client, "kim", "wrong")
    log_in(client, "my-secret-typed-in-the-wrong-field", "x")
    log_in(client, "kim", factories.PASSWORD)
    client.post("/accounts/logout/")
    events = AuditEvent.objects.order_by("pk")
    assert [(event.verb, event.target_uuid) for event in events] == [
        ("fail to log in", kim.uuid),
        ("fail to log in", None),
        ("log in", kim.uuid),
        ("log out", kim.uuid),
    ]
    assert "my-secret" not in str([*events.values()])


def test_that_an_account_is_closed_is_said_after_the_right_password_only(client: Client) -> None:
    factories.user("kim", is_active=False)
    assert "account is closed" not in log_in(client, "kim", "wrong")
    assert "This account is closed" in log_in(client, "kim", factories.PASSWORD)
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("address", ["accounts/signup/", "accounts/password/reset/", "accounts/email/"])
def test_nobody_signs_up(client: Client, address: str) -> None:
    assert client.get(f"/{address}").status_code == 404


def test_empty_fields_are_asked_for(client: Client) -> None:
    assert "Enter your user name and your password" in log_in(client, "", "")
