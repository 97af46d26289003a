from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.backups.backup_folder import BackupFolder
from portal.backups.backup_key import PARAMETERS, make_key, open_key, read_passphrase
from portal.backups.making import make_backup
from portal.backups.problems import CannotBackUp
from portal.backups.restoring import check
from portal.backups.stores import Store, open_store
from portal.models import AuditEvent


class Command(BaseCommand):
    help = (
        "Back up the database and the data folder to FOLDER, which may be a bucket (s3://BUCKET/PREFIX), encrypted, "
        "while Hilum runs. Secrets are not in it. Ends with an error where a file that the database names is missing; "
        "the backup is kept then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder", help="on another disk, a mounted share, or s3://BUCKET/PREFIX; a first backup begins it"
        )
        parser.add_argument(
            "--passphrase-file", type=Path, required=True, help="a file with a passphrase of 20 characters or more"
        )
        parser.add_argument(
            "--begin", action="store_true", help="begin this folder, although there are backups in another one"
        )
        parser.add_argument(
            "--unlock",
            action="store_true",
            help="first remove the lock of a bucket that a backup of another machine left when it was killed",
        )
        parser.add_argument(
            "--keep", type=int, metavar="DAYS", help="then remove older backups, but never the newest good one"
        )
        parser.add_argument(
            "--check",
            nargs="?",
            const="",
            metavar="NAME",
            help="read the newest backup, or this one, and change nothing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep"] is not None and options["keep"] < 1:
            raise CommandError(f"--keep is {options['keep']}; expected a number of days from 1.")
        try:
            passphrase = read_passphrase(options["passphrase_file"])
            store = open_store(options["folder"])
            if options["check"] is not None:
                self._check(BackupFolder(store, open_key(store, passphrase)), options["check"])
                return
            if not options["begin"]:
                _require_begun(store)
            if options["unlock"]:
                store.unlock()
            folder = BackupFolder(store, make_key(store, passphrase))
            manifest = make_backup(folder, keep_days=options["keep"])
        except (CannotBackUp, OSError) as problem:
            raise CommandError(str(problem)) from problem
        size = sum(file.size for file in manifest.files if not file.link)
        self.stdout.write(f"{manifest.name}: {len(manifest.files)} files, {size / 2**30:.2f} GiB, and the database.")
        for fault in manifest.faults:
            self.stdout.write(fault)
        if manifest.faults:
            raise CommandError(
                f"{len(manifest.faults)} files that the database names are missing. The backup has everything else; "
                "restore these files from an earlier one."
            )

    def _check(self, folder: BackupFolder, name: str) -> None:
        manifest = folder.manifest(name) if name else folder.newest()
        count = check(folder, manifest)
        self.stdout.write(f"{manifest.name}: the database and {count} files can be read, and are what was backed up.")
        for fault in manifest.faults:
            self.stdout.write(f"When it was made: {fault}")


def _require_begun(store: Store) -> None:
    """Where a disk is not mounted, its folder is empty, and a backup would fill the disk below it, unnoticed."""
    last = AuditEvent.objects.filter(verb="back up").order_by("created_at").last()
    if last is not None and not store.has(PARAMETERS):
        raise CommandError(
            f"{store} has no backups, and the last one of this installation is of {last.created_at:%Y-%m-%d %H:%M} "
            "UTC. If it is on a disk or a share, mount that; if it is in a bucket, see to the name and the address. To "
            "begin a folder of its own, add --begin."
        )
