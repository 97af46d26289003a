import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.project.condition import CHECKS, Check, Condition

logger = logging.getLogger(__name__)


def _result_of(check: Check) -> Condition:
    """The condition that the check finds. A check that fails itself must not hide what the others find."""
    try:
        return check()
    except Exception as problem:
        logger.exception("a check of the doctor failed")
        return Condition(
            check.__name__.replace("_", " "),
            f"This check failed itself ({type(problem).__name__}), so that nothing is known of it.",
            "The log above says where. Look at what the check is about, and report it.",
        )


class Command(BaseCommand):
    help = "Look for faults of this installation, and say for each what to do. Changes nothing."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        faults = 0
        for check in CHECKS:
            condition = _result_of(check)
            if condition.fault:
                faults += 1
                self.stdout.write(f"{condition.name}: {condition.fault}\n  {condition.remedy}")
            else:
                self.stdout.write(f"{condition.name}: ok")
        if faults:
            raise CommandError(f"{faults} of {len(CHECKS)} checks found a fault.")
