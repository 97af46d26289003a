from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from analysis.views.label_exports import READINGS
from portal.models import Cohort, Dataset, Site, Split
from portal.people import audit
from portal.sets.label_export import FilmSet, exported_films
from portal.sets.label_files import FILES


class Command(BaseCommand):
    help = (
        "Write labels, findings, boxes and readings of a dataset, a cohort or a split into a folder, with their "
        "history. import_images takes labels.csv and boxes.csv back as they are; the others are JSON, COCO and CSV."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", required=True, help="name of the site")
        of = parser.add_mutually_exclusive_group(required=True)
        of.add_argument("--dataset", help="name of the dataset")
        of.add_argument("--cohort", help="name and version of the cohort, such as 'normals v3'")
        of.add_argument("--split", help="name of the split")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; made if missing")

    def handle(self, *args: Any, **options: Any) -> None:
        site = Site.objects.filter(name=options["site"]).first()
        if site is None:
            names = ", ".join(Site.objects.order_by("name").values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no site {options['site']!r}; the sites are: {names}.")
        films, out = _films(site, options), options["out"]
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name, make in FILES.items():
                _write(out / name, make(exported_films(films)))
            for name, make_readings in READINGS.items():
                _write(out / name, make_readings(films))
        except OSError as problem:
            raise CommandError(f"{out} cannot be written: {problem.strerror}. Check the path.") from problem
        audit.record(verb="export labels", site=site, actor=None, target=films, after={"file": "all"})
        self.stdout.write(f"{', '.join([*FILES, *READINGS])}: {out}")


def _write(path: Path, content: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(content)


def _films(site: Site, options: dict[str, Any]) -> FilmSet:
    kind = next(kind for kind in ("dataset", "cohort", "split") if options[kind])
    of_kind: dict[str, QuerySet[Any]] = {
        "dataset": Dataset.objects.all(),
        "cohort": Cohort.objects.all(),
        "split": Split.objects.all(),
    }
    sets: dict[str, FilmSet] = {str(films): films for films in of_kind[kind].filter(site=site)}
    if options[kind] not in sets:
        names = ", ".join(sorted(sets)) or "none yet"
        raise CommandError(f"There is no {kind} {options[kind]!r} at {site.name}; its {kind}s are: {names}.")
    return sets[options[kind]]
