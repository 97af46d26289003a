from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.models import Site, Split
from portal.sets.parts_csv import has_own_names, parts_csv


class Command(BaseCommand):
    help = (
        "Write the parts of a split as a CSV for `python -m ml_engine fit` and `score`, which then use the same films "
        "in each part as the portal."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument("--split", required=True, help="name of the split")
        parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: standard output)")

    def handle(self, *args: Any, **options: Any) -> None:
        split = _split_named(options["site"], options["split"])
        text, out = parts_csv(split), options["out"]
        if out is None:
            self.stdout.write(text, ending="")
            return
        try:
            out.write_text(text, encoding="utf-8", newline="")
        except OSError as problem:
            raise CommandError(f"{out} cannot be written: {problem.strerror}. Check the path.") from problem
        names = "as in the imported CSV" if has_own_names(split) else "as in the archive of a run: files/UUID.u16.gz"
        self.stderr.write(f"{len(text.splitlines()) - 1} films: {out}. File names are {names}.")


def _split_named(site_name: str, name: str) -> Split:
    site = Site.objects.filter(name=site_name).first()
    if site is None:
        names = ", ".join(Site.objects.order_by("name").values_list("name", flat=True))
        raise CommandError(f"There is no site {site_name!r}; the sites are: {names or 'none yet'}.")
    split = Split.objects.filter(site=site, name=name).first()
    if split is None:
        names = ", ".join(Split.objects.filter(site=site).order_by("name").values_list("name", flat=True))
        raise CommandError(f"There is no split {name!r} at {site_name}; its splits are: {names or 'none yet'}.")
    return split
