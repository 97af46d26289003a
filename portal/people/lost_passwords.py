"""A link by mail with which a person who lost their password chooses another one, as a manager would give it."""

import logging
from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import ResetPasswordForm
from django.conf import settings
from django.http import HttpRequest

from portal.models import User
from portal.people import audit
from portal.people.members import password_path
from portal.people.single_sign_on import is_connected

logger = logging.getLogger(__name__)


class LostPasswordForm(ResetPasswordForm):
    """Says the same of an address that no account has, and of a mail that could not be sent."""

    def clean_email(self) -> str:
        address = str(self.cleaned_data["email"])
        people = User.objects.filter(email__iexact=address, is_active=True)
        self.users = [person for person in people if _may_choose_one(person)]
        return address

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        for person in self.users:
            audit.record(verb="ask for new password", site=None, actor=None, target=person)
            context = {"user": person, "password_reset_url": request.build_absolute_uri(password_path(person))}
            try:
                get_adapter().send_password_reset_mail(person, person.email, context)
            except (OSError, SMTPException) as problem:
                logger.error("mail for a lost password was not sent: %s", problem)
        return str(self.cleaned_data["email"])


def _may_choose_one(person: User) -> bool:
    """Not a person who logs in through the provider alone, whom it may have shut out."""
    if settings.PASSWORDS == "administrators":
        return person.is_superuser
    return person.has_usable_password() or not is_connected(person)
