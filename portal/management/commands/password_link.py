"""The break-glass way in: a link for whoever has lost a password, or is kept out by somebody who guesses at it."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.models import User
from portal.people import audit
from portal.people.members import password_path


class Command(BaseCommand):
    help = (
        "Print a link with which a person chooses a password, once, within three days. Where it was opened, wrong "
        "passwords that others give for the account keep the person out no longer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        person = User.objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"There is no person {options['username']!r}.")
        if not person.is_active:
            raise CommandError(f"The account of {person.username} is closed; an administrator opens it again.")
        if settings.PASSWORDS == "administrators" and not person.is_superuser:
            raise CommandError(
                f"Passwords are for administrators here (HILUM_PASSWORDS), and {person.username} is none."
            )
        audit.record(verb="give link to", site=None, actor=None, target=person, reason="on the command line")
        if not settings.PUBLIC_ADDRESS:
            self.stderr.write("Put the address of this installation before it, such as http://localhost:8000:")
        self.stdout.write(f"{settings.PUBLIC_ADDRESS}{password_path(person)}")
