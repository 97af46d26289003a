from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.intake.further_columns import ColumnKind
from portal.intake.kept_columns import drop_columns, stored_columns
from portal.models import Site


class Command(BaseCommand):
    help = (
        "List the further columns of tables that are stored with the films of a site, or drop those that are not to be "
        "kept. Earlier releases kept every column whose name was not that of an identifier."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument(
            "--keep",
            action="append",
            default=[],
            metavar="COLUMN=KIND",
            help="a column to keep with --drop, and what it is: number or category; may be repeated",
        )
        parser.add_argument("--drop", action="store_true", help="drop every other column; this cannot be undone")

    def handle(self, *args: Any, **options: Any) -> None:
        site = Site.objects.filter(name=options["site"]).first()
        if site is None:
            names = ", ".join(Site.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no site {options['site']!r}; existing sites: {names}.")
        columns = stored_columns(site)
        keep = dict(self._kept(text) for text in options["keep"])
        there = {column.name for column in columns}
        if unknown := sorted(set(keep) - there):
            raise CommandError(
                f"No film of {site.name} has a column {unknown[0]!r}; the columns are "
                f"{', '.join(sorted(there)) or 'none'}."
            )
        if keep and not options["drop"]:
            raise CommandError("--keep says what stays when the other columns are dropped; pass --drop too.")
        if not columns:
            self.stdout.write(f"No film of {site.name} has further columns.")
        elif options["drop"]:
            dropped = drop_columns(site, keep=keep, actor=None)
            for name, films in sorted(dropped.items()):
                self.stdout.write(f"dropped {name} of {films} film{'s' * (films > 1)}")
        else:
            for column in columns:
                fits = " or ".join(column.fits) or "nothing that may be kept"
                self.stdout.write(f"{column.name}: {column.films} films, {column.values} values; looks like {fits}")

    def _kept(self, text: str) -> tuple[str, ColumnKind]:
        name, _, kind = text.rpartition("=")
        if not name or kind not in list(ColumnKind):
            raise CommandError(f"--keep {text}: write COLUMN=number or COLUMN=category.")
        return name, ColumnKind(kind)
