import signal
import threading
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine.runs import lifecycle
from portal.project.embedded import CannotStart, Portal


class Command(BaseCommand):
    help = "Start the portal on the embedded default: broker, web server and workers, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="if it is in use, the next free port is taken")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.set())
        call_command("migrate", verbosity=0)
        try:
            with Portal(port=options["port"]) as portal:
                self.stdout.write(f"Hilum answers at {portal.address}. Ctrl-C stops it.")
                self.work(portal, stop)
                while not stop.wait(0.5):
                    portal.keep_alive()
                self.stdout.write("Stopping; a running run continues at the next start.")
        except CannotStart as error:
            raise CommandError(str(error)) from error
        lifecycle.hand_back_all()  # the runs of a worker that had to be killed

    def work(self, portal: Portal, stop: threading.Event) -> None:
        """A hook for commands that extend this one, called once the portal runs."""
