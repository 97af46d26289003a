"""Pages of second factors: set up, asked for at log-in, recovery codes, removed; and what the audit has of it."""

from __future__ import annotations

import json
import re

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client

from portal.models import AuditEvent, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.people.one_time import code_of, made_up_key

pytestmark = [pytest.mark.django_db]
START = "/accounts/second-factor/"


@pytest.fixture(autouse=True)
def _no_counts() -> None:
    cache.clear()


@pytest.fixture
def kim() -> Client:
    factories.curator("kim")
    return logged_in()


def logged_in() -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": "kim", "password": factories.PASSWORD})
    return client


def confirmed(kim: Client, address: str) -> str:
    """The page at the address, after the password that is asked for before it."""
    asked = kim.get(address, follow=True)
    assert "Your password" in one_line(asked)
    return one_line(kim.post(asked.redirect_chain[-1][0], {"password": factories.PASSWORD}, follow=True))


def set_up(kim: Client) -> tuple[str, list[str]]:
    """The secret of the app, and the recovery codes."""
    page = confirmed(kim, f"{START}app/")
    (secret,) = re.findall(r'id="totp-secret">(\w+)<', page)
    page = one_line(kim.post(f"{START}app/", {"code": code_of(secret)}, follow=True))
    return secret, re.findall(r"<li>(\d{8})</li>", page)


@pytest.mark.django_db(transaction=True)  # the audit is written on commit
def test_from_the_password_to_an_app_to_a_log_in_that_asks_for_its_code(kim: Client) -> None:
    secret, codes = set_up(kim)
    assert len(codes) == 10
    assert "set up on" in one_line(kim.get(START))
    fresh = Client()
    answer = fresh.post("/accounts/login/", {"login": "kim", "password": factories.PASSWORD, "next": "/splits/"})
    assert answer["Location"] == f"{START}log-in/"
    assert fresh.get("/datasets/").status_code == 302, "the password alone lets nobody in"
    page = one_line(fresh.post(f"{START}log-in/", {"code": "000000"}))
    assert "This is not the code" in page
    assert fresh.post(f"{START}log-in/", {"code": code_of(secret)})["Location"] == "/splits/"
    assert fresh.get("/splits/").status_code == 200
    verbs = [(event.verb, event.after) for event in AuditEvent.objects.order_by("pk")]
    assert verbs == [
        ("log in", {"by": ["password"]}),
        ("add second factor", {"kind": "authenticator app"}),
        ("add second factor", {"kind": "recovery codes"}),
        ("fail second factor", None),
        ("log in", {"by": ["password", "mfa"]}),
    ]


def test_a_log_in_that_waits_for_its_code_can_be_given_up(kim: Client) -> None:
    set_up(kim)
    client = logged_in()
    assert client.get("/accounts/login/")["Location"] == f"{START}log-in/"
    assert client.post("/accounts/logout/")["Location"] == "/accounts/login/"
    assert "User name" in one_line(client.get("/accounts/login/"))


def test_what_a_page_fetches_does_not_go_on_with_the_log_in(kim: Client) -> None:
    """It would make a new challenge, and a key's answer to the one before would be refused."""
    set_up(kim)
    waiting = logged_in()
    assert waiting.get("/accounts/login/")["Location"] == "/accounts/second-factor/log-in/"
    assert waiting.get("/accounts/login/", headers={"Sec-Fetch-Mode": "cors"}).status_code == 200


def test_the_dialog_of_an_ended_session_begins_the_log_in_anew(kim: Client) -> None:
    set_up(kim)
    factories.curator("lee")
    waiting = logged_in()
    fields = {"login": "lee", "password": factories.PASSWORD, "next": "/labels/session/"}
    answer = waiting.post("/accounts/login/", fields, headers={"Hilum-Dialog": "1"}, follow=True)
    assert answer.json()["person"] == str(User.objects.get(username="lee").uuid)


def test_a_recovery_code_lets_in_once(kim: Client) -> None:
    _, codes = set_up(kim)
    assert "shown when they were made" in one_line(kim.get(f"{START}codes/"))
    for status, client in ((302, logged_in()), (200, logged_in())):
        assert client.post(f"{START}log-in/", {"code": codes[0]}).status_code == status
    assert "9 left" in one_line(kim.get(START))


def test_wrong_codes_are_limited_like_wrong_passwords(kim: Client) -> None:
    secret, _ = set_up(kim)
    cache.clear()
    client = logged_in()
    for _ in range(5):
        assert "This is not the code" in one_line(client.post(f"{START}log-in/", {"code": "111111"}))
    assert "Too many wrong" in one_line(client.post(f"{START}log-in/", {"code": code_of(secret)}))


def test_a_code_works_once(kim: Client) -> None:
    secret, _ = set_up(kim)
    code = code_of(secret)
    cache.clear()
    assert logged_in().post(f"{START}log-in/", {"code": code}).status_code == 302
    again = logged_in().post(f"{START}log-in/", {"code": code})
    assert "This is not the code" in one_line(again)


def test_a_wrong_code_sets_nothing_up(kim: Client) -> None:
    confirmed(kim, f"{START}app/")
    assert "This is not the code" in one_line(kim.post(f"{START}app/", {"code": "000000"}))
    assert not Authenticator.objects.exists()


def test_the_last_factor_takes_the_recovery_codes_with_it(kim: Client) -> None:
    set_up(kim)
    page = one_line(kim.get(f"{START}app/remove/", follow=True))
    assert "Remove the authenticator app?" in page
    page = one_line(kim.post(f"{START}app/remove/", follow=True))
    assert "The authenticator app is removed." in page
    assert not Authenticator.objects.exists()
    assert logged_in().get("/datasets/").status_code == 200
    assert AuditEvent.objects.filter(verb="remove second factor").count() == 2


@pytest.mark.django_db(transaction=True)
def test_new_codes_end_the_old_ones(kim: Client) -> None:
    _, codes = set_up(kim)
    page = one_line(kim.post(f"{START}codes/new/", follow=True))
    fresh = re.findall(r"<li>(\d{8})</li>", page)
    assert len(fresh) == 10 and not set(fresh) & set(codes)
    assert AuditEvent.objects.filter(verb="make recovery codes").exists()


def test_a_wrong_password_confirms_nothing(kim: Client) -> None:
    asked = kim.get(f"{START}app/", follow=True)
    page = one_line(kim.post(asked.redirect_chain[-1][0], {"password": "wrong"}))
    assert "This is not your password" in page
    assert kim.get(f"{START}app/").status_code == 302


NONSENSE = (
    "",
    "{}",
    "[]",
    "nonsense",
    "7",
    '{"id": "x"}',
    '{"rawId": "é", "response": {}}',
    '{"rawId": "AA", "response": 1}',
)


def test_nonsense_for_a_key_is_refused_with_a_sentence(kim: Client) -> None:
    confirmed(kim, f"{START}keys/add/")
    whole = made_up_key()
    broken = whole | {"response": whole["response"] | {"attestationObject": "AAAA"}}
    for credential in (*NONSENSE, json.dumps(broken), json.dumps(whole)):  # the last has another challenge
        page = one_line(kim.post(f"{START}keys/add/", {"name": "mine", "credential": credential}))
        assert "The key was not accepted" in page
    assert not Authenticator.objects.exists()


def test_nonsense_of_a_key_lets_nobody_in(kim: Client) -> None:
    Authenticator.objects.create(
        user=User.objects.get(), type=Authenticator.Type.WEBAUTHN, data={"name": "blue", "credential": made_up_key()}
    )
    client = logged_in()
    assert "Use a security key" in one_line(client.get(f"{START}log-in/"))
    for credential in NONSENSE:
        cache.clear()
        page = one_line(client.post(f"{START}log-in/", {"credential": credential}))
        assert "The key was not accepted" in page
    assert client.get("/datasets/").status_code == 302
