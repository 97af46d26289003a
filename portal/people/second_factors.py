"""Second factors: an authenticator app, security keys, and codes for when both are lost. Who has to have one, and what
the audit says of them. allauth.mfa stores and checks them."""

import base64
import hashlib
from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction

from portal.models import Role, User
from portal.people import audit

_KINDS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)  # codes alone are no factor
_WORDS = {
    Authenticator.Type.TOTP: "authenticator app",
    Authenticator.Type.WEBAUTHN: "security key",
    Authenticator.Type.RECOVERY_CODES: "recovery codes",
}


class FactorAdapter(DefaultMFAAdapter):
    """Keeps what codes are computed from encrypted, so that a copy of the database alone makes none."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This is not the code. Each code is valid for half a minute and once: enter the next one.",
        "rate_limited": "Too many wrong codes. Wait five minutes, then try again.",
    }

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise PermissionDenied(
                "Your second factor was set up under another HILUM_SECRET_KEY. An administrator removes it with "
                "manage.py remove_second_factors, and you set it up again."
            ) from None

    def get_totp_label(self, user: Any) -> str:
        return str(user.username)

    def generate_authenticator_name(self, user: Any, type: Any) -> str:  # noqa: A002 - allauth's name
        return f"Key {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"


def _cipher() -> Fernet:
    key = hashlib.sha256(b"second factors of Hilum:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def has_one(person: User) -> bool:
    return bool(Authenticator.objects.filter(user_id=person.pk, type__in=_KINDS).exists())


def has_to_have_one(person: User) -> bool:
    """By the setting HILUM_SECOND_FACTOR; administrators count as managers."""
    if settings.SECOND_FACTOR == "everybody":
        return True
    if settings.SECOND_FACTOR == "nobody":
        return False
    return person.is_superuser or person.is_staff or person.memberships.filter(role=Role.MANAGER).exists()


def is_missing(person: User) -> bool:
    return has_to_have_one(person) and not has_one(person)


@transaction.atomic
def remove_all(*, person: User, author: User | None) -> int:
    """For a person who lost them; return how many there were. `author` is None on the command line."""
    count = Authenticator.objects.filter(user_id=person.pk).delete()[0]
    if count:
        audit.record(verb="remove second factors", site=None, actor=author, target=person)
    return count


def audit_added(request: Any, user: User, authenticator: Any, **_: Any) -> None:
    _audit("add second factor", user, authenticator)


def audit_removed(request: Any, user: User, authenticator: Any, **_: Any) -> None:
    _audit("remove second factor", user, authenticator)


def audit_new_codes(request: Any, user: User, authenticator: Any, **_: Any) -> None:
    _audit("make recovery codes", user, authenticator)


def audit_failure(request: Any, user: User, authenticator: Any, **_: Any) -> None:
    """By a person who gave the right password, so that it is named."""
    audit.record(verb="fail second factor", site=None, actor=None, target=user)


def _audit(verb: str, person: User, authenticator: Any) -> None:
    audit.record(verb=verb, site=None, actor=person, target=person, after={"kind": _WORDS[authenticator.type]})
