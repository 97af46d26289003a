"""Log-in through a real OpenID Connect provider on the loopback interface."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Generator
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.core.cache import cache
from django.test import Client

from portal.models import AuditEvent, Membership, Role, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.people import identity_provider
from tests.portal.people.identity_provider import IdentityProvider
from tests.portal.people.test_second_factors import with_app

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
MAIL = "kim@hospital.example"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leave the redirect to the test."""


@pytest.fixture
def provider(settings: Any) -> Generator[IdentityProvider]:
    cache.clear()
    with identity_provider.running() as provider:
        settings.SOCIALACCOUNT_PROVIDERS = identity_provider.settings_for(provider)
        yield provider


def way_back(address: str) -> str:
    """Where the provider sends the browser, which comes with this address, back to."""
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.build_opener(_Stay).open(address)
    answer.value.close()
    assert answer.value.code == 302
    return str(answer.value.headers["Location"]).removeprefix("http://testserver")


def log_in(client: Client | None = None, way: str = "") -> tuple[Client, Any]:
    client = client or Client()
    leave = client.get(f"/accounts/sso/{way}")
    assert leave["Location"].startswith("http://127.0.0.1"), leave["Location"]
    return client, client.get(way_back(leave["Location"]), follow=True)


def person_of(client: Client) -> str:
    pk = client.session.get("_auth_user_id")
    return User.objects.get(pk=pk).username if pk else ""


def test_a_new_person_gets_an_account_without_any_role(provider: IdentityProvider) -> None:
    assert "Log in with Ward log-in" in one_line(Client().get("/accounts/login/"))
    client, page = log_in(way="?next=/splits/")
    assert page.redirect_chain[-1][0] == "/splits/"
    assert "not a member of any site yet" in one_line(client.get("/datasets/"))
    kim = User.objects.get(username="kim")
    assert (kim.get_full_name(), kim.has_usable_password(), kim.is_staff, kim.is_superuser) == (
        "Kim Lee",
        False,
        False,
        False,
    )
    assert not Membership.objects.exists()
    verbs = [(event.verb, event.after) for event in AuditEvent.objects.order_by("pk")]
    assert verbs == [
        ("make user", {"username": "kim", "by": "Ward log-in"}),
        ("log in", {"by": ["socialaccount"]}),
    ]
    assert SocialAccount.objects.get().extra_data == {}
    again, _ = log_in()
    assert person_of(again) == "kim"
    assert User.objects.count() == 1


def test_a_user_name_that_is_taken_gives_no_access_to_its_account(provider: IdentityProvider) -> None:
    factories.user("kim", Role.MANAGER)
    client, _ = log_in()
    assert person_of(client) not in ("", "kim")
    assert Membership.objects.filter(user__username=person_of(client)).count() == 0


@pytest.mark.parametrize(("verified", "setting"), [(True, False), (False, True), (False, False)])
def test_a_mail_address_is_not_enough(provider: IdentityProvider, settings: Any, verified: bool, setting: bool) -> None:
    settings.OIDC_LINK_EMAIL = setting
    factories.user("kim", Role.MANAGER, email=MAIL.upper())
    provider.person |= {"email": MAIL, "email_verified": verified}
    client, page = log_in()
    assert person_of(client) == ""
    assert "an account of Hilum with your mail address already. Log in with its password" in one_line(page)
    assert User.objects.count() == 1
    assert not SocialAccount.objects.exists()


def test_a_verified_address_links_where_the_setting_allows_it(provider: IdentityProvider, settings: Any) -> None:
    settings.OIDC_LINK_EMAIL = True
    kim = factories.user("local", Role.MANAGER, email=MAIL)
    provider.person |= {"email": MAIL, "email_verified": True}
    client, _ = log_in()
    assert person_of(client) == "local"
    kim.refresh_from_db()
    assert kim.check_password(factories.PASSWORD), "the password goes on working"
    event = AuditEvent.objects.get(verb="link account")
    assert (event.target_uuid, event.after) == (kim.uuid, {"by": "mail address"})


@pytest.mark.parametrize("fields", [{"is_superuser": True}, {"is_staff": True}, {"is_active": False}])
def test_nobody_becomes_an_administrator_by_an_address(
    provider: IdentityProvider, settings: Any, fields: dict[str, bool]
) -> None:
    settings.OIDC_LINK_EMAIL = True
    factories.user("root", email=MAIL, **fields)
    provider.person |= {"email": MAIL, "email_verified": True}
    assert person_of(log_in()[0]) == ""
    assert not SocialAccount.objects.exists()


def test_two_accounts_of_one_address_are_not_guessed_between(provider: IdentityProvider, settings: Any) -> None:
    settings.OIDC_LINK_EMAIL = True
    factories.user("one", email=MAIL)
    factories.user("two", email=MAIL)
    provider.person |= {"email": MAIL, "email_verified": True}
    assert person_of(log_in()[0]) == ""


def test_a_person_connects_their_own_account_after_their_password(provider: IdentityProvider) -> None:
    factories.user("local", Role.MANAGER, email=MAIL)
    client = Client()
    client.post("/accounts/login/", {"login": "local", "password": factories.PASSWORD})
    assert "Connect your account with Ward log-in" in one_line(client.get("/accounts/password/"))
    _, page = log_in(client, "?process=connect")
    assert "Confirm that it is you" in one_line(page)
    page = client.post(page.redirect_chain[-1][0], {"password": factories.PASSWORD}, follow=True)
    assert "Your account is connected" in one_line(page)
    assert "You can log in with Ward log-in" in one_line(page)
    assert AuditEvent.objects.get(verb="link account").after == {"by": "the person"}
    assert person_of(log_in()[0]) == "local"


def test_what_is_connected_to_one_is_not_connected_to_another(provider: IdentityProvider) -> None:
    log_in()
    factories.user("local")
    client = Client()
    client.post("/accounts/login/", {"login": "local", "password": factories.PASSWORD})
    _, page = log_in(client, "?process=connect")
    page = client.post(page.redirect_chain[-1][0], {"password": factories.PASSWORD}, follow=True)
    assert "belongs to another account" in one_line(page)


def test_a_closed_account_stays_closed(provider: IdentityProvider) -> None:
    log_in()
    User.objects.update(is_active=False)
    client, page = log_in()
    assert person_of(client) == ""
    assert "This account is closed" in one_line(page)


def test_a_second_factor_is_asked_for_after_the_provider_too(provider: IdentityProvider) -> None:
    log_in()
    with_app(User.objects.get())
    client, page = log_in()
    assert page.redirect_chain[-1][0] == "/accounts/second-factor/log-in/"
    assert person_of(client) == ""


BROKEN: dict[str, Any] = {
    "signed by another key": lambda provider: setattr(provider, "signing_key", identity_provider.new_key()),
    "signed with a shared secret": lambda provider: setattr(provider, "algorithm", "HS256"),
    "another audience": lambda provider: provider.claims.update(aud="another"),
    "another issuer": lambda provider: provider.claims.update(iss="https://evil.example"),
    "too old": lambda provider: provider.claims.update(exp=1),
    "facts of another person": lambda provider: setattr(provider, "subject_of_facts", "8"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_answer_that_is_not_the_providers_lets_nobody_in(provider: IdentityProvider, broken: str) -> None:
    BROKEN[broken](provider)
    client, page = log_in()
    assert person_of(client) == ""
    assert "The log-in at Ward log-in failed" in one_line(page)
    assert not User.objects.exists()
    event = AuditEvent.objects.get()
    assert (event.verb, event.reason) == ("fail to log in", "Ward log-in: the provider's answer was refused")


def test_an_answer_to_a_question_that_was_not_asked_lets_nobody_in(provider: IdentityProvider) -> None:
    back = way_back(Client().get("/accounts/sso/")["Location"])
    page = Client().get(back, follow=True)  # another browser
    assert "failed or took too long" in one_line(page)
    assert not User.objects.exists()


def test_a_cancelled_log_in_says_so(provider: IdentityProvider) -> None:
    provider.cancels = True
    assert "You cancelled the log-in at Ward log-in" in one_line(log_in()[1])
    assert not AuditEvent.objects.exists()


def test_passwords_work_while_the_provider_is_away(provider: IdentityProvider) -> None:
    factories.user("root", is_superuser=True, is_staff=True)
    provider.server.shutdown()
    provider.server.server_close()
    client = Client()
    page = one_line(client.get("/accounts/sso/", follow=True))
    assert "Ward log-in does not answer as it should. If you have a password, log in with it" in page
    client.post("/accounts/login/", {"login": "root", "password": factories.PASSWORD})
    assert person_of(client) == "root"


def test_where_passwords_are_of_administrators_others_are_sent_to_the_provider(
    provider: IdentityProvider, settings: Any
) -> None:
    settings.PASSWORDS = "administrators"
    factories.user("root", is_superuser=True)
    factories.user("kim", Role.MANAGER)
    client = Client()
    page = client.post("/accounts/login/", {"login": "kim", "password": factories.PASSWORD}, follow=True)
    assert "Passwords are for administrators here. Log in with Ward log-in." in one_line(page)
    assert person_of(client) == ""
    client.post("/accounts/login/", {"login": "root", "password": factories.PASSWORD})
    assert person_of(client) == "root"


def test_without_a_provider_there_is_no_button_and_its_addresses_say_so() -> None:
    assert "/accounts/sso/" not in Client().get("/accounts/login/").text
    for address in ("/accounts/sso/", "/accounts/sso/callback/?code=x&state=y"):
        assert "has no single sign-on" in one_line(Client().get(address, follow=True))
