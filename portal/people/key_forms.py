"""Forms of security keys that answer whatever a browser, or something else, sends as a key's answer."""

import struct
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, ReauthenticateWebAuthnForm
from django import forms

# what parsing something that is no answer of a key raises
_MALFORMED = (TypeError, ValueError, LookupError, AttributeError, AssertionError, struct.error)


class AddKeyForm(AddWebAuthnForm):
    name = forms.CharField(required=False, max_length=60)

    def clean(self) -> Any:
        try:
            return super().clean()
        except forms.ValidationError:
            raise
        except _MALFORMED as problem:
            raise get_adapter().validation_error("incorrect_code") from problem


class _GuardedAnswer:
    def clean_credential(self) -> Any:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except forms.ValidationError:
            raise
        except _MALFORMED as problem:
            raise get_adapter().validation_error("incorrect_code") from problem


class AskForKeyForm(_GuardedAnswer, AuthenticateWebAuthnForm):
    pass


class ConfirmByKeyForm(_GuardedAnswer, ReauthenticateWebAuthnForm):
    pass
