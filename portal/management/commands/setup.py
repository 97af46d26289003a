import getpass
import sys
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from portal.models import Site, User
from portal.people import audit, members


class Command(BaseCommand):
    help = "Prepare a new installation: its database, a first site, and a first person, who administers and manages it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", help="the name of the hospital or group; asked for if it is missing")
        parser.add_argument("--user", help="the user name of the first person; asked for if it is missing")
        parser.add_argument(
            "--password-from-stdin", action="store_true", help="read the password from the first line of stdin"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        if User.objects.filter(is_superuser=True, is_active=True).exists():
            raise CommandError(
                "This installation has an administrator already. Log in and make sites and people there, or set a new "
                "password with `manage.py changepassword NAME`."
            )
        if not options["site"] or not options["user"]:
            self._need_terminal("--site and --user")
        name = options["site"] or input("Name of the site (a hospital or group): ")
        username = options["user"] or input("User name of the first person: ")
        person = User(username=username.strip(), is_staff=True, is_superuser=True)
        password = self._password(person, from_stdin=options["password_from_stdin"])
        try:
            site = self._make(person, password, name)
        except members.InvalidPerson as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{site.name} is made; {person.username} administers the installation and manages the site.")
        self.stdout.write(f"Films, runs and weights will lie in {settings.DATA_DIR}.")
        if not settings.PRODUCTION:
            self.stdout.write(
                f"Keep a copy of {settings.DATA_DIR / 'secrets'} elsewhere: without the pseudonym secret, later films "
                "of a patient cannot be linked to earlier ones."
            )
            self.stdout.write("Next: `manage.py start`, log in, add people under People, then import films under Data.")

    def _password(self, person: User, *, from_stdin: bool) -> str:
        if from_stdin:
            password = sys.stdin.readline().rstrip("\n")
        else:
            self._need_terminal("--password-from-stdin")
            password = getpass.getpass("Password: ")
            if getpass.getpass("Again: ") != password:
                raise CommandError("The two passwords differ; nothing was made.")
        try:
            validate_password(password, person)
        except ValidationError as error:
            raise CommandError(f"{' '.join(error.messages)} Nothing was made.") from error
        return password

    def _need_terminal(self, options: str) -> None:
        if not sys.stdin.isatty():
            raise CommandError(f"There is no terminal to ask at; give {options}.")

    @transaction.atomic
    def _make(self, person: User, password: str, name: str) -> Site:
        try:
            person.full_clean(exclude=["password"])
        except ValidationError as error:
            raise members.InvalidPerson(f"The user name is refused: {' '.join(error.messages)}") from error
        person.set_password(password)
        person.save()
        audit.record(verb="make user", site=None, actor=person, target=person, after={"username": person.username})
        return members.make_site(name=name, author=person)
