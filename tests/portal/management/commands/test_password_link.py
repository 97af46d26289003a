"""The command with which an administrator gets in who has lost the password, or whom somebody who guesses keeps out."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client

from portal.models import AuditEvent
from tests.pages import one_line
from tests.portal import factories
from tests.portal.people.test_wrong_passwords import guess, guess_from_everywhere, is_inside, log_in

pytestmark = [pytest.mark.django_db]
CHOSEN = "Falkenauge-41-Birke"


def link_of(name: str) -> str:
    output = StringIO()
    call_command("password_link", name, stdout=output, stderr=StringIO())
    return output.getvalue().strip()


def test_who_is_kept_out_by_guesses_is_let_in(settings: Any) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    cache.clear()
    factories.user("boss", is_superuser=True)
    guess("boss", times=6)
    guess_from_everywhere("boss")
    owner = Client()
    assert "Too many wrong" in log_in(owner, "boss")
    form = owner.get(link_of("boss"), follow=True).redirect_chain[-1][0]
    page = one_line(owner.post(form, {"new_password1": CHOSEN, "new_password2": CHOSEN}, follow=True))
    assert "Your password is set" in page
    log_in(owner, "boss", CHOSEN)
    assert is_inside(owner)
    assert AuditEvent.objects.filter(verb="give link to", actor=None, reason="on the command line").count() == 1


def test_the_link_begins_with_the_address_that_people_type(settings: Any) -> None:
    factories.user("boss")
    assert link_of("boss").startswith("/accounts/invitation/")
    settings.PUBLIC_ADDRESS = "https://hilum.example.org"
    assert link_of("boss").startswith("https://hilum.example.org/accounts/invitation/")


def test_no_link_for_nobody_for_a_closed_account_or_where_passwords_let_nobody_in(settings: Any) -> None:
    with pytest.raises(CommandError, match="no person 'nobody'"):
        link_of("nobody")
    factories.user("kim", is_active=False)
    with pytest.raises(CommandError, match="account of kim is closed"):
        link_of("kim")
    factories.user("lee")
    settings.PASSWORDS = "administrators"
    with pytest.raises(CommandError, match="lee is none"):
        link_of("lee")
