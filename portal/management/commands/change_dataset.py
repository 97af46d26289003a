from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.models import Dataset
from portal.sets.approvals import FACTS, InvalidDatasetFact, approval_of, change_facts


class Command(BaseCommand):
    help = (
        "Show, or change, where a dataset comes from, its ethics approval, its purpose, and until when it may be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument("--dataset", required=True, help="name of the dataset")
        for name in FACTS:
            metavar = "YYYY-MM-DD" if name == "expires_on" else "TEXT"
            words = (
                "last day of the approval; an empty text: no end" if name == "expires_on" else name.replace("_", " ")
            )
            parser.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=words)

    def handle(self, *args: Any, **options: Any) -> None:
        datasets = Dataset.objects.filter(site__name=options["site"]).select_related("site")
        dataset = datasets.filter(name=options["dataset"]).first()
        if dataset is None:
            names = ", ".join(datasets.values_list("name", flat=True)) or "none"
            raise CommandError(
                f"There is no dataset {options['dataset']!r} at {options['site']!r}; the datasets there are: {names}."
            )
        facts = {name: options[name] for name in FACTS if options[name] is not None}
        try:
            changed = change_facts(dataset=dataset, facts=facts, author=None)
        except InvalidDatasetFact as error:
            raise CommandError(str(error)) from error
        dataset.refresh_from_db()
        for name in FACTS:
            mark = " (changed)" if name in changed else ""
            self.stdout.write(f"{name.replace('_', ' ')}: {getattr(dataset, name) or 'not stated'}{mark}")
        if sentence := approval_of(dataset).sentence:
            self.stdout.write(sentence)
