"""manage.py request_run KIND: request a run from the command line, as the pages and the API do."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine.core.config import PRESETS
from ml_engine.core.errors import InvalidConfig
from ml_engine.forms.runs import FIT_FIRST, UNALIGNED
from ml_engine.models import STUDIES, AlignmentModel, DetectorModel, Run, RunKind, RunState
from ml_engine.runs import requests, supervisor
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import Dataset, Part, Site, Split


class Command(BaseCommand):
    help = "Request a run. It is queued for a worker; with --now it runs here until it ends."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=[kind.value for kind in RunKind if kind not in STUDIES])
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument("--name", required=True, help="name by which colleagues will find the run")
        parser.add_argument("--note", default="")
        parser.add_argument("--split", help="name of a frozen split, for a fit")
        parser.add_argument("--preset", choices=PRESETS, default="default")
        parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any setting; repeatable")
        parser.add_argument(
            "--alignment",
            default=UNALIGNED,
            help="for a detector: none, first (fit one first), or the UUID of an alignment",
        )
        parser.add_argument("--detector", help="for scoring: the UUID of the detector or of its run")
        parser.add_argument("--parts", nargs="+", choices=Part.values, default=[], help="parts to score")
        parser.add_argument(
            "--datasets", nargs="+", default=[], metavar="NAME", help="datasets to score instead of parts"
        )
        parser.add_argument("--now", action="store_true", help="run it here instead of waiting for a worker")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run = self._request(options)
        except (RunRefused, InvalidConfig) as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{run.uuid}  {run.get_kind_display()}  {run.name}")
        if options["now"]:
            if run.after is not None:
                supervisor.execute(run.after.uuid)
            supervisor.execute(run.uuid)
            self._report_outcome(run)

    def _report_outcome(self, run: Run) -> None:
        run.refresh_from_db()
        if run.state != RunState.DONE:
            raise CommandError(run.message or f"The run is {run.get_state_display().lower()}.")
        self.stdout.write("Done.")

    def _request(self, options: dict[str, Any]) -> Run:
        site = _get_by_name(Site, options["site"])
        request = RunRequest(site=site, name=options["name"], note=options["note"])
        if options["kind"] == RunKind.SCORE:
            return self._request_score(request, options)
        if not options["split"]:
            raise CommandError("--split is missing: name the frozen split to fit on.")
        split = _get_by_name(Split, options["split"], site=site)
        config = requests.config_from(options["preset"], _changes(options["set"]))
        if options["kind"] == RunKind.FIT_ALIGNMENT:
            return requests.request_alignment(request, split=split, config=config)
        if options["alignment"] == FIT_FIRST:
            return requests.request_aligned_detector(request, split=split, config=config)
        alignment = None
        if options["alignment"] != UNALIGNED:
            alignment = requests.find_model(AlignmentModel, site, options["alignment"])
        return requests.request_detector(request, split=split, config=config, alignment=alignment)

    def _request_score(self, request: RunRequest, options: dict[str, Any]) -> Run:
        if not options["detector"]:
            raise CommandError("--detector is missing: give the UUID of a detector or of its run.")
        return requests.request_score(
            request,
            detector=requests.find_model(DetectorModel, request.site, options["detector"]),
            parts=options["parts"],
            datasets=[_get_by_name(Dataset, name, site=request.site) for name in options["datasets"]],
        )


def _get_by_name(model: Any, name: str, **of: Site) -> Any:
    """Raises CommandError with the names that exist."""
    row = model.objects.filter(name=name, **of).first()
    if row is None:
        names = ", ".join(sorted(model.objects.filter(**of).values_list("name", flat=True))) or "none yet"
        raise CommandError(f"There is no {model._meta.verbose_name} “{name}”. There are: {names}.")
    return row


def _changes(assignments: list[str]) -> dict[str, str]:
    changes = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise CommandError(f"--set {assignment}: write FIELD=VALUE, such as alignment.epochs=20.")
        changes[name.strip()] = value.strip()
    return changes
