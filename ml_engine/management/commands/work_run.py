"""manage.py work_run UUID: work on a queued run here, without a worker."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine.models import Run, RunState
from ml_engine.runs import supervisor


class Command(BaseCommand):
    help = "Work on a queued run in this process, to its end. Harmless while a worker is at it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=UUID)

    def handle(self, *args: Any, run: UUID, **options: Any) -> None:
        if not Run.objects.filter(uuid=run).exists():
            raise CommandError(f"There is no run {run}: its page shows its address.")
        supervisor.execute(run)
        after = Run.objects.get(uuid=run)
        if after.state in (RunState.FAILED, RunState.CANCELLED):
            raise CommandError(after.message or "The run was cancelled.")
        self.stdout.write(f"{after.get_state_display()}.")
