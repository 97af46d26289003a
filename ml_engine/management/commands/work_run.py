"""manage.py work_run UUID: carry out a queued run here, without a worker."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine.models import Run, RunState
from ml_engine.runs import supervisor
from ml_engine.runs.ranges import children_of


class Command(BaseCommand):
    help = "Carry out a queued run in this process until it ends. Does nothing if a worker holds the run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=UUID)

    def handle(self, *args: Any, run: UUID, **options: Any) -> None:
        if not Run.objects.filter(uuid=run).exists():
            raise CommandError(f"There is no run {run}: the run's page shows its UUID.")
        supervisor.execute(run)
        divided = Run.objects.get(uuid=run)
        if divided.waits_for_children:
            for child in children_of(divided):
                supervisor.execute(child.uuid)
            supervisor.execute(run)
        ended = Run.objects.get(uuid=run)
        if ended.state in (RunState.FAILED, RunState.CANCELLED):
            raise CommandError(ended.message or "The run was cancelled.")
        self.stdout.write(f"{ended.get_state_display()}.")
