"""Whether a person gets mail at the end of their runs, and where."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from portal.models import User
from portal.people import audit


class InvalidAddress(Exception):
    """A sentence for the person."""


def choose_mail(*, person: User, email: str, at_run_end: bool) -> None:
    """Mail needs an address; without mail it may be blank. Raises InvalidAddress."""
    email = email.strip()
    try:
        if email or at_run_end:
            validate_email(email)
    except ValidationError as error:
        raise InvalidAddress(f"“{email[:80]}” is no mail address: enter one such as name@example.org.") from error
    with transaction.atomic():
        person.email, person.mail_at_run_end = email, at_run_end
        person.save(update_fields=["email", "mail_at_run_end"])
        audit.record(verb="choose mail", site=None, actor=person, target=person, after={"at_run_end": at_run_end})
