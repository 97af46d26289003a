import signal
import sys
import threading
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine.runs import lifecycle
from portal.models import User
from portal.project import running
from portal.project.embedded import CannotStart, Portal


class Command(BaseCommand):
    help = "Start the portal on the embedded default: broker, web server and workers, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="if it is in use, the next free port is taken")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with running.claimed(settings.DATA_DIR, command=" ".join(["manage.py", *sys.argv[1:]])) as claim:
                self._serve(claim, port=options["port"])
        except running.AlreadyRuns as error:
            raise CommandError(
                f"Hilum already runs with the data folder {settings.DATA_DIR}: {error}. End it with `manage.py stop`, "
                "or set HILUM_DATA_DIR to another folder."
            ) from error
        except CannotStart as error:
            raise CommandError(str(error)) from error
        lifecycle.hand_back_all()  # the runs of a worker that had to be killed

    def _serve(self, claim: running.Claim, *, port: int) -> None:
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
            signal.signal(name, lambda *_: stop.set())
        call_command("migrate", verbosity=0)
        with Portal(port=port, claim=claim) as portal:
            self.stdout.write(f"Hilum answers at {portal.address}. Ctrl-C stops it.")
            self.work(portal, stop)
            if not User.objects.exists():
                self.stdout.write("Nobody has an account yet: `manage.py setup` makes the first one, and a site.")
            while not stop.wait(0.5):
                portal.keep_alive()
            self._say("Stopping; a running run continues at the next start.")

    def _say(self, line: str) -> None:
        """To a terminal that may have been closed."""
        try:
            self.stdout.write(line)
        except OSError:
            pass

    def work(self, portal: Portal, stop: threading.Event) -> None:
        """A hook for commands that extend this one, called once the portal runs."""
