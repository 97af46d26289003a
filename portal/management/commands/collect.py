from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.intake import film_bucket
from portal.intake.film_bucket import BucketAway
from portal.retention.collector import CannotCollect, Inventory, collect
from portal.retention.copies import remove_copies, remove_outdated

_HOURS_A_DAY = 24
_MOST_GIB = 10_000_000


class Command(BaseCommand):
    help = (
        "Look for files of the data folder that no row of the database names, such as what killed processes left, and "
        "count them. With --remove they are removed. A file that a row names is never removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--remove", action="store_true", help="remove what is found; without it nothing changes")
        parser.add_argument(
            "--days", type=float, default=7.0, help="only what nobody has written for so many days (default: 7)"
        )
        parser.add_argument(
            "--copies-gib",
            type=float,
            help="with a bucket: remove copies of films and runs from the data folder until they take at most so much",
        )
        parser.add_argument("--list", action="store_true", help="name each file")
        parser.add_argument(
            "--even-most", action="store_true", help="also where most files of a kind have no row, which is refused"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["copies_gib"] is not None:
            self._remove_copies(options["copies_gib"])
            return
        if options["remove"]:
            self._remove_outdated()
        try:
            inventories = collect(
                hours=options["days"] * _HOURS_A_DAY, removes=options["remove"], even_most=options["even_most"]
            )
        except (CannotCollect, BucketAway) as problem:
            raise CommandError(str(problem)) from problem
        for inventory in inventories:
            self.stdout.write(_words(inventory, removes=options["remove"]))
            if options["list"]:
                for entry in inventory.unnamed:
                    self.stdout.write(f"  {entry.path}")
        if not options["remove"] and any(inventory.unnamed for inventory in inventories):
            self.stdout.write("Nothing was removed: --remove does that.")

    def _remove_outdated(self) -> None:
        if outdated := remove_outdated():
            self.stdout.write(f"Copies of what was changed or erased on another machine: {outdated} removed.")

    def _remove_copies(self, gib: float) -> None:
        if not film_bucket.is_used():
            raise CommandError(
                "--copies-gib needs HILUM_FILM_BUCKET: without a bucket the data folder has the only films. Nothing "
                "was removed."
            )
        if not 0 <= gib < _MOST_GIB:
            raise CommandError(f"--copies-gib is {gib:g}; expected 0 or more GiB, below {_MOST_GIB:,}.")
        try:
            self._remove_outdated()
            removed = remove_copies(int(gib * 2**30))
        except BucketAway as away:
            raise CommandError(str(away)) from away
        self.stdout.write(
            f"Copies: {removed.files} removed ({removed.bytes / 2**20:.1f} MiB), "
            f"{removed.bytes_left / 2**20:.1f} MiB left. The bucket has them all."
        )


def _words(inventory: Inventory, *, removes: bool) -> str:
    count = inventory.removed if removes else len(inventory.unnamed)
    size = inventory.bytes_removed if removes else inventory.bytes_unnamed
    strange = f"; {inventory.strange} with names that are not ours were left" if inventory.strange else ""
    return (
        f"{inventory.kind.name}: {count} {'removed' if removes else 'without a row'} ({size / 2**20:.1f} MiB), "
        f"{inventory.named} named by rows, {inventory.young} too young{strange}."
    )
