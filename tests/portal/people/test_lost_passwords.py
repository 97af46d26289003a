"""A link for a lost password, by mail; and what is said where there is none."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.core.cache import cache
from django.test import Client

from portal.models import AuditEvent, Role, User
from portal.people.single_sign_on import PROVIDER
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.test_people import CHOSEN, choose

pytestmark = [pytest.mark.django_db]
ADDRESS = "/accounts/password/lost/"


@pytest.fixture(autouse=True)
def _sends_mail(settings: Any) -> None:
    cache.clear()
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL = "mail.hospital.example", "hilum@hospital.example"


def ask(address: str) -> str:
    return one_line(Client().post(ADDRESS, {"email": address}, follow=True))


def test_from_a_lost_password_to_a_new_one() -> None:
    rosa = factories.user("rosa", Role.READER, email="Rosa@hospital.example")
    assert "mail with a link is on its way" in ask("rosa@HOSPITAL.example")
    (sent,) = mail.outbox
    assert (sent.to, sent.subject, sent.from_email) == (
        ["Rosa@hospital.example"],
        "Choose a password for Hilum",
        "hilum@hospital.example",
    )
    assert "the account rosa of Hilum" in one_line(sent.body)
    (path,) = re.findall(r"http://testserver(/accounts/invitation/\S+)", sent.body)
    assert rosa.check_password(factories.PASSWORD), "the old password works until then"
    assert "Your password is set. Log in as rosa." in choose(path, CHOSEN)
    assert not Client().login(username="rosa", password=factories.PASSWORD)
    assert Client().login(username="rosa", password=CHOSEN)
    assert "used or too old" in one_line(Client().get(path))
    assert [e.verb for e in AuditEvent.objects.order_by("pk")] == ["ask for new password", "choose own password"]


def test_an_unknown_address_is_answered_in_the_same_words() -> None:
    factories.user("rosa", email="rosa@hospital.example")
    one, other = (re.sub(r'"X-CSRFToken": "\w+"', "", ask(f"{name}@hospital.example")) for name in ("nobody", "rosa"))
    assert one == other
    assert len(mail.outbox) == 1


def test_closed_accounts_and_people_of_the_provider_get_no_link(settings: Any) -> None:
    factories.user("closed", email="closed@hospital.example", is_active=False)
    through = factories.user("through", email="through@hospital.example")
    through.set_unusable_password()
    through.save()
    SocialAccount.objects.create(user=through, provider=PROVIDER, uid="7")
    for name in ("closed", "through"):
        ask(f"{name}@hospital.example")
    settings.PASSWORDS = "administrators"
    factories.user("rosa", email="rosa@hospital.example")
    ask("rosa@hospital.example")
    assert mail.outbox == []
    factories.user("root", is_superuser=True, email="root@hospital.example")
    ask("root@hospital.example")
    assert len(mail.outbox) == 1


def test_a_mail_server_that_is_away_is_not_told_to_strangers(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", 9, 2
    factories.user("rosa", email="rosa@hospital.example")
    assert "mail with a link is on its way" in ask("rosa@hospital.example")
    assert "mail for a lost password was not sent" in caplog.text


def test_without_mail_the_page_says_who_gives_a_link(settings: Any) -> None:
    settings.EMAIL_HOST = ""
    rosa = factories.user("rosa", Role.READER, email="rosa@hospital.example")
    for page in (one_line(Client().get(ADDRESS)), ask("rosa@hospital.example")):
        assert "This installation sends no mail. A manager of your site gives you a link" in page
    assert mail.outbox == []
    assert User.objects.get() == rosa


def test_no_address_is_asked_for_again() -> None:
    assert "Enter a mail address" in ask("rosa")


def test_asking_again_and_again_is_refused_with_a_page() -> None:
    factories.user("rosa", email="rosa@hospital.example")
    pages = [ask("rosa@hospital.example") for _ in range(6)]
    assert "Too many requests" in pages[-1]
    assert len(mail.outbox) == 5


def test_nobody_has_mail_sent_to_a_person_more_than_five_times_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    factories.user("rosa", email="rosa@hospital.example")
    started = time.time()
    for minutes, sent in [*((minutes, min(minutes + 1, 5)) for minutes in range(50)), (65, 6)]:
        monkeypatch.setattr(time, "time", lambda now=started + 60 * minutes: now)
        ask("rosa@hospital.example")
        assert len(mail.outbox) == sent


def test_the_log_in_page_leads_there() -> None:
    factories.user("rosa")
    assert ADDRESS in one_line(Client().get("/accounts/login/"))
