from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.backups.backup_folder import BackupFolder
from portal.backups.backup_key import open_key, read_passphrase
from portal.backups.problems import CannotBackUp
from portal.backups.restoring import restore_backup
from portal.backups.stores import open_store
from portal.project import running


class Command(BaseCommand):
    help = (
        "Restore a backup into an empty database and an empty data folder. Everything is checked against its hash, "
        "patients who were erased since are erased again, and runs go on. Run it as the owner of the tables."
    )
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", help="the folder, or s3://BUCKET/PREFIX, that `manage.py backup` wrote")
        parser.add_argument("--passphrase-file", type=Path, required=True, help="the file with its passphrase")
        parser.add_argument("--name", default="", help="which backup; the newest if left out")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            passphrase = read_passphrase(options["passphrase_file"])
            store = open_store(options["folder"])
            folder = BackupFolder(store, open_key(store, passphrase))
            manifest = folder.manifest(options["name"]) if options["name"] else folder.newest()
            with running.claimed(settings.DATA_DIR, command="manage.py restore"):
                sentences = restore_backup(folder, manifest)
        except (CannotBackUp, OSError) as problem:
            raise CommandError(str(problem)) from problem
        except running.AlreadyRuns as error:
            raise CommandError(
                f"Hilum runs with the data folder {settings.DATA_DIR}: {error}. Stop it first."
            ) from error
        for sentence in sentences:
            self.stdout.write(sentence)
        self.stdout.write("Restored. Start Hilum, then run `manage.py doctor`.")
