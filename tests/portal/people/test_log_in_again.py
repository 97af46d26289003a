"""What the dialog of an ended session offers to whom."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount

from portal.people.log_in_again import WaysIn, ways_in
from portal.people.single_sign_on import SignOn
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
PROVIDERS = {
    "openid_connect": {"APPS": [{"name": "Ward log-in", "provider_id": "sso"}]},
    "saml": {"APPS": [{"name": "Old log-in", "provider_id": "https://login.example.org"}]},
}
WARD = SignOn("Ward log-in", "openid_connect_login", "sso")
OLD = SignOn("Old log-in", "saml_login", "https://login.example.org")


def test_without_a_provider_a_password_is_asked_for() -> None:
    assert ways_in(factories.curator()) == WaysIn(by_password=True, sign_ons=[])


@pytest.mark.parametrize(
    ("has_password", "is_connected", "passwords", "expected"),
    [
        (True, False, "everybody", WaysIn(by_password=True, sign_ons=[])),
        (True, True, "everybody", WaysIn(by_password=True, sign_ons=[WARD])),
        (False, True, "everybody", WaysIn(by_password=False, sign_ons=[WARD, OLD])),
        (True, True, "administrators", WaysIn(by_password=False, sign_ons=[WARD, OLD])),
    ],
)
def test_single_sign_on_is_offered_to_whoever_uses_it(
    has_password: bool, is_connected: bool, passwords: str, expected: WaysIn, settings: Any
) -> None:
    settings.SOCIALACCOUNT_PROVIDERS, settings.PASSWORDS = PROVIDERS, passwords
    kim = factories.curator("kim")
    if not has_password:
        kim.set_unusable_password()
    if is_connected:
        SocialAccount.objects.create(user=kim, provider="sso", uid="7")
    assert ways_in(kim) == expected


def test_an_administrator_has_a_password_in_any_case(settings: Any) -> None:
    settings.SOCIALACCOUNT_PROVIDERS, settings.PASSWORDS = PROVIDERS, "administrators"
    assert ways_in(factories.user("root", is_superuser=True)) == WaysIn(by_password=True, sign_ons=[])
