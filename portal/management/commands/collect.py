from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.retention.collector import CannotCollect, Found, collect

_HOURS_A_DAY = 24


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
        parser.add_argument("--list", action="store_true", help="name each file")
        parser.add_argument(
            "--even-most", action="store_true", help="also where most files of a kind have no row, which is refused"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            founds = collect(
                hours=options["days"] * _HOURS_A_DAY, removes=options["remove"], even_most=options["even_most"]
            )
        except CannotCollect as problem:
            raise CommandError(str(problem)) from problem
        for found in founds:
            self.stdout.write(_words(found, removes=options["remove"]))
            if options["list"]:
                for entry in found.unnamed:
                    self.stdout.write(f"  {entry.path}")
        if not options["remove"] and any(found.unnamed for found in founds):
            self.stdout.write("Nothing was removed: --remove does that.")


def _words(found: Found, *, removes: bool) -> str:
    count = found.removed if removes else len(found.unnamed)
    size = found.bytes_removed if removes else found.bytes_unnamed
    strange = f"; {found.strange} with names that are not ours were left" if found.strange else ""
    return (
        f"{found.kind.name}: {count} {'removed' if removes else 'without a row'} ({size / 2**20:.1f} MiB), "
        f"{found.named} named by rows, {found.young} too young{strange}."
    )
