import logging
import time
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.project.condition import CHECKS, NEWEST_FILMS, Check, Condition, films

SECONDS_BETWEEN_LINES = 5.0  # of progress
logger = logging.getLogger(__name__)


def _result_of(check: Check, name: str) -> Condition:
    """The condition that the check finds. A check that fails itself must not hide what the others find."""
    try:
        return check()
    except Exception as problem:
        logger.exception("a check of the doctor failed")
        return Condition(
            name,
            f"This check failed itself ({type(problem).__name__}), so that nothing is known of it.",
            "The log above says where. Look at what the check is about, and report it.",
        )


class Command(BaseCommand):
    help = "Look for faults of this installation, and say for each what to do. Changes nothing."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--without-pixels",
            action="store_true",
            help=f"do not read the newest {NEWEST_FILMS:,} films, which takes a minute where they are large; whether "
            "each film's file is there is looked at all the same",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        faults, reads = 0, not options["without_pixels"]
        read_films = partial(films, newest=NEWEST_FILMS if reads else 0, progress=self._say_how_far)
        self._last_line = time.monotonic()
        for check in CHECKS:
            condition = _result_of(read_films if check is films else check, check.__name__.replace("_", " "))
            if condition.fault:
                faults += 1
                self.stdout.write(f"{condition.name}: {condition.fault}\n  {condition.remedy}")
            else:
                unread = " (their files are there; their pixels were not read)" if check is films and not reads else ""
                self.stdout.write(f"{condition.name}: ok{unread}")
        if faults:
            raise CommandError(f"{faults} of {len(CHECKS)} checks found a fault.")

    def _say_how_far(self, done: int, total: int) -> None:
        """On stderr, since stdout is what the checks find."""
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.stderr.write(f"films: {done:,} of the newest {total:,} read")
