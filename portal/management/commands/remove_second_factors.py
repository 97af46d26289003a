"""Removes the second factors of a person who lost them: the way in for the last administrator too."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.models import User
from portal.people.second_factors import remove_all


class Command(BaseCommand):
    help = "Remove all second factors of a person, who then logs in by password alone and sets up new ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        person = User.objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"There is no person {options['username']!r}.")
        if remove_all(person=person, author=None):
            self.stdout.write(f"{person.username} logs in by password alone until new second factors are set up.")
        else:
            self.stdout.write(f"{person.username} had no second factor.")
