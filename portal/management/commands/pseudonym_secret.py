import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.backups import escrow
from portal.backups.backup_key import read_passphrase
from portal.backups.key_rotation import CannotRotate, rotate
from portal.backups.making import fingerprint
from portal.backups.problems import CannotBackUp
from portal.project import environment, running
from portal.project.production import weakness


class Command(BaseCommand):
    help = (
        "Seal HILUM_PSEUDONYM_SECRET under a passphrase into a file for somebody else to keep, check such a file, or "
        "show the secret in it. Without the secret no later film of a patient finds the earlier ones. Or exchange it "
        "for the one in FILE (rotate), while Hilum is stopped: pseudonyms stay as they are."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["seal", "check", "show", "rotate"])
        parser.add_argument(
            "file", type=Path, help="seal: a new file, on another disk; rotate: a file with the new secret"
        )
        parser.add_argument(
            "--passphrase-file",
            type=Path,
            help="a file with a passphrase of 20 characters or more; needed, but for rotate",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if options["act"] == "rotate":
            self._rotate(path)
            return
        if options["passphrase_file"] is None:
            raise CommandError(f"{options['act']} needs --passphrase-file, a file with the passphrase.")
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

    def _rotate(self, path: Path) -> None:
        secret = _new_secret(path)
        try:
            with running.claimed(settings.DATA_DIR, command="manage.py pseudonym_secret rotate"):
                sites, files = rotate(secret)
                own = environment.kept_secret_path("HILUM_PSEUDONYM_SECRET", folder=settings.DATA_DIR / "secrets")
                is_own = not os.environ.get("HILUM_PSEUDONYM_SECRET") and own.exists()
                if is_own:
                    environment.replace_secret(own, secret)
        except (CannotRotate, OSError) as problem:
            raise CommandError(str(problem)) from problem
        except running.AlreadyRuns as error:
            raise CommandError(
                f"Hilum runs with the data folder {settings.DATA_DIR}: {error}. Stop it first."
            ) from error
        self.stdout.write(
            f"The keys of {sites} sites are kept under the new secret {fingerprint(secret)}, and {files} files in "
            "quarantine were encrypted again."
        )
        self.stdout.write(
            f"{own} has the new secret."
            if is_own
            else f"Now set HILUM_PSEUDONYM_SECRET to the secret in {path}, for all services, before anything starts."
        )
        self.stdout.write(
            "Then remove the file, seal the new secret for escrow, and make a backup. Backups from before need the "
            "former secret: keep it in escrow as long as you keep them."
        )


def _new_secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(
            f"{path} cannot be read ({type(problem).__name__}); write the new secret into it."
        ) from problem
    if len(secret) < environment.SHORTEST_SECRET:
        raise CommandError(
            f"The secret in {path} has {len(secret)} characters; use at least {environment.SHORTEST_SECRET} random "
            "ones."
        )
    if weak := weakness(secret, f"The secret in {path}"):
        raise CommandError(weak)
    if secret == settings.PSEUDONYM_SECRET:
        raise CommandError(f"{path} has the secret that Hilum works with; write another one into it.")
    return secret
