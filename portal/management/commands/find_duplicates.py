from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.intake.fingerprints import look_for_near_copies
from portal.models import FilmPair, Site


class Command(BaseCommand):
    help = (
        "Compare the films of a site that have not been compared yet, and list pairs that may be the same film for a "
        "curator to judge. Imports start the same in the background."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", required=True, help="name of the site")

    def handle(self, *args: Any, **options: Any) -> None:
        site = Site.objects.filter(name=options["site"]).first()
        if site is None:
            names = ", ".join(Site.objects.order_by("name").values_list("name", flat=True))
            raise CommandError(f"There is no site {options['site']!r}; the sites are: {names or 'none yet'}.")
        progress = look_for_near_copies(site)
        unjudged = FilmPair.objects.filter(site=site, verdict="").count()
        self.stdout.write(f"{progress.pairs} new pairs of films that may be the same; {unjudged} have not been judged.")
