from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from portal.project import broker, environment, running


class Command(BaseCommand):
    help = "Say whether the portal runs on this data folder, and with which processes."

    def handle(self, *args: Any, **options: Any) -> None:
        portal = running.who_runs(settings.DATA_DIR)
        if portal is not None:
            self.stdout.write(f"Hilum runs: {portal}.")
            self.stdout.write(f"It answers at {portal.address or '(not yet)'}; logs are in {settings.DATA_DIR}/logs.")
            for name, pid in portal.children.items():
                self.stdout.write(f"  {name:10} process {pid}")
            return
        self.stdout.write(f"Hilum does not run with the data folder {settings.DATA_DIR}.")
        if left := running.left_behind(settings.DATA_DIR):
            self.stdout.write(
                f"An earlier start was killed and left {running.in_words(left)}: the next start ends them, and so does "
                "`manage.py stop`."
            )
            return
        socket = environment.broker_socket(settings.DATA_DIR)
        if broker.listens(socket):
            self.stdout.write(
                f"A broker of an earlier start still runs (process {broker.process_of(socket)}): "
                "end it with `manage.py stop`."
            )
