"""Who has to have a second factor, how it is kept, and who takes it away."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.core.exceptions import PermissionDenied

from portal.models import AuditEvent, Role, User
from portal.people.second_factors import FactorAdapter, has_one, has_to_have_one, is_missing, remove_all
from portal.people.tokens import TokenRefused, token_of
from tests.portal import factories
from tests.portal.people.one_time import code_of

pytestmark = [pytest.mark.django_db]
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def with_app(person: User) -> User:
    TOTP.activate(person, SECRET)
    return person


def test_the_code_of_the_tests_is_that_of_the_standard() -> None:
    """RFC 6238, appendix B, of which the last six digits are taken."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890"
    assert [code_of(secret, at=at) for at in (59, 1111111109, 2000000000)] == ["287082", "081804", "279037"]


@pytest.mark.parametrize(
    ("setting", "who"),
    [("nobody", set()), ("managers", {"mina", "root", "staff"}), ("everybody", {"mina", "root", "staff", "kim"})],
)
def test_the_setting_decides_who_has_to_have_one(settings: Any, setting: str, who: set[str]) -> None:
    settings.SECOND_FACTOR = setting
    people = [
        factories.user("mina", Role.MANAGER),
        factories.user("root", is_superuser=True),
        factories.user("staff", is_staff=True),
        factories.curator("kim"),
    ]
    assert {person.username for person in people if has_to_have_one(person)} == who
    assert {person.username for person in people if is_missing(person)} == who
    assert not any(is_missing(with_app(person)) for person in people)


def test_recovery_codes_alone_are_no_factor() -> None:
    kim = factories.curator("kim")
    Authenticator.objects.create(user=kim, type=Authenticator.Type.RECOVERY_CODES, data={})
    assert not has_one(kim)


def test_secrets_are_encrypted_under_the_installations_key(settings: Any) -> None:
    kim = with_app(factories.curator("kim"))
    assert SECRET not in str(Authenticator.objects.values())
    assert FactorAdapter().decrypt(Authenticator.objects.get(user=kim).data["secret"]) == SECRET
    settings.SECRET_KEY = "another one, so that codes cannot be computed"
    with pytest.raises(PermissionDenied, match="set up under another HILUM_SECRET_KEY"):
        Authenticator.objects.get(user=kim).wrap().validate_code(code_of(SECRET))


def test_lost_factors_are_removed_and_that_is_audited_once() -> None:
    root, kim = factories.user("root", is_superuser=True), with_app(factories.curator("kim"))
    assert remove_all(person=kim, author=root) == 1
    assert remove_all(person=kim, author=root) == 0
    event = AuditEvent.objects.get(verb="remove second factors")
    assert (event.actor, event.target_uuid) == (root, kim.uuid)


def test_a_token_waits_for_the_second_factor_of_its_owner(settings: Any) -> None:
    mina = factories.user("mina", Role.MANAGER)
    secret = factories.api_token(mina)
    settings.SECOND_FACTOR = "managers"
    with pytest.raises(TokenRefused, match="has to set up a second factor first"):
        token_of(secret)
    with_app(mina)
    assert token_of(secret).owner == mina
