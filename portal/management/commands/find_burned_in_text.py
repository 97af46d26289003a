from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from portal.intake.text_looks import film_of, header_says_so, lines_on
from portal.models import Image, Site


class Command(BaseCommand):
    help = (
        "List the films of a site that may have text burned in, such as a patient's name, for a person to look at: by "
        "their headers, and by lines of characters in the pixels. It misses some (docs/dicom.md), and changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument("--dataset", help="name of a dataset of the site (default: all)")

    def handle(self, *args: Any, **options: Any) -> None:
        site = Site.objects.filter(name=options["site"]).first()
        if site is None:
            names = ", ".join(Site.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no site {options['site']!r}; existing sites: {names}.")
        films = Image.objects.filter(dataset__site=site)
        if options["dataset"]:
            films = films.filter(dataset__name=options["dataset"])
            if not site.datasets.filter(name=options["dataset"]).exists():
                names = ", ".join(site.datasets.values_list("name", flat=True)) or "none yet"
                raise CommandError(f"{site.name} has no dataset {options['dataset']!r}; its datasets: {names}.")
        looked_at = suspected = 0
        for film in films.order_by("pk").iterator(chunk_size=200):
            looked_at += 1
            reasons = self._reasons(film)
            if reasons:
                suspected += 1
                self.stdout.write(f"{reverse('portal:image', args=[film.uuid])}: {'; '.join(reasons)}")
        self.stdout.write(f"{suspected} of {looked_at} films to look at")

    def _reasons(self, film: Image) -> list[str]:
        reasons = ["its header says so"] if header_says_so(film) else []
        try:
            lines = lines_on(film_of(film))
        except OSError:
            return [*reasons, "its pixels are missing"]
        for line in lines:
            place = f"x {line.x}, y {line.y}, {line.width} × {line.height} pixels"
            reasons.append(f"{line.characters} characters at {place}")
        return reasons
