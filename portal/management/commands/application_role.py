import re
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.project.application_role import CannotLimit, set_up

LEAST = 12  # characters of a password


class Command(BaseCommand):
    help = (
        "Make the database role as which web server and workers work, or give it the rights on tables that a migration "
        "has added. It can read and write rows, and cannot change tables, empty them or switch their guards off. Run "
        "it as the owner of the tables after every migration; the password is read from the standard input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--role", default="hilum_app", help="its name: lower-case letters, digits and underscores")

    def handle(self, *args: Any, **options: Any) -> None:
        role, password = options["role"], sys.stdin.readline().strip()
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", role):
            raise CommandError(f"--role {role}: lower-case letters, digits and underscores are expected.")
        if len(password) < LEAST:
            raise CommandError(f"The password on the standard input has {len(password)} characters; use {LEAST}.")
        try:
            set_up(role=role, password=password)
        except CannotLimit as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(f"{role} can read and write rows, and no more.")
