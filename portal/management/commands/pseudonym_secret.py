from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.backups import escrow
from portal.backups.backup_key import read_passphrase
from portal.backups.problems import CannotBackUp


class Command(BaseCommand):
    help = (
        "Seal HILUM_PSEUDONYM_SECRET under a passphrase into a file for somebody else to keep, check such a file, or "
        "show the secret in it. Without the secret no later film of a patient finds the earlier ones."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["seal", "check", "show"])
        parser.add_argument("file", type=Path, help="seal: a new file, on another disk")
        parser.add_argument(
            "--passphrase-file", type=Path, required=True, help="a file with a passphrase of 20 characters or more"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            passphrase = read_passphrase(options["passphrase_file"])
            if options["act"] == "show":
                self.stdout.write(escrow.show(path, passphrase))
                return
            named = (escrow.seal if options["act"] == "seal" else escrow.check)(path, passphrase)
        except (CannotBackUp, OSError) as problem:
            raise CommandError(str(problem)) from problem
        if options["act"] == "seal":
            self.stdout.write(
                f"Sealed the secret {named}. Check the file, then give it and the passphrase to two people."
            )
        else:
            self.stdout.write(f"{path} can be opened, and has the secret {named} of this installation.")
