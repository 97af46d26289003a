import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.project import broker, environment, running

SECONDS = 90.0  # each of four children may take 20 s to end


class Command(BaseCommand):
    help = "Stop the portal that runs on this data folder; a running run continues at the next start."

    def handle(self, *args: Any, **options: Any) -> None:
        portal = running.who_runs(settings.DATA_DIR)
        if portal is None:
            self._stop_what_is_left()
            return
        os.kill(portal.pid, signal.SIGTERM)
        if not running.wait_until_stopped(settings.DATA_DIR, seconds=SECONDS):
            raise CommandError(f"Hilum has not stopped within {SECONDS:.0f} s: {portal}. See {settings.DATA_DIR}/logs.")
        self.stdout.write(f"Stopped {portal}.")

    def _stop_what_is_left(self) -> None:
        """The processes of a start that was killed together with its watchdog."""
        if left := running.end_left(settings.DATA_DIR):
            self.stdout.write(f"Stopped what an earlier start left: {running.in_words(left)}.")
            return
        socket = environment.broker_socket(settings.DATA_DIR)
        if not broker.listens(socket):
            self.stdout.write(f"Hilum does not run with the data folder {settings.DATA_DIR}.")
            return
        pid = broker.process_of(socket)
        os.kill(pid, signal.SIGTERM)
        self.stdout.write(f"Stopped a broker that was left by an earlier start (process {pid}).")
