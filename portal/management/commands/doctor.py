from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.project.condition import CHECKS


class Command(BaseCommand):
    help = "Look for faults of this installation, and say for each what to do. Changes nothing."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        faults = 0
        for check in CHECKS:
            condition = check()
            if condition.fault:
                faults += 1
                self.stdout.write(f"{condition.name}: {condition.fault}\n  {condition.remedy}")
            else:
                self.stdout.write(f"{condition.name}: ok")
        if faults:
            raise CommandError(f"{faults} of {len(CHECKS)} checks found a fault.")
