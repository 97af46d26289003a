import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from portal.dicomweb.client import PacsError, StudyQuery
from portal.dicomweb.pacs_imports import (
    MOST_STUDIES_LISTED,
    InvalidPacsRequest,
    forget_fetched,
    import_studies,
    plan_of,
    search,
    target_named,
)
from portal.intake.pseudonym_key import OtherKey
from portal.intake.quotas import QuotaReached
from portal.intake.virus_scan import AWAY_AT_COMMAND, ScannerAway
from portal.intake.zip_uploads import INTERRUPTED, fail
from portal.models import Dataset, Site, Upload
from portal.people.retired import why_retired
from portal.sets.approvals import InvalidDatasetFact, date_of


class Command(BaseCommand):
    help = "Fetch studies of a PACS of HILUM_PACS_FILE by DICOMweb, and import their radiographs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument("--dataset", required=True, help="name of a dataset that exists")
        parser.add_argument("--pacs", required=True, help="name of the PACS")
        parser.add_argument("--first-day", metavar="YYYY-MM-DD", default="")
        parser.add_argument("--last-day", metavar="YYYY-MM-DD", default="")
        parser.add_argument("--modality", default="", help="CR, DX, RG, PX, RF or OT")
        parser.add_argument("--patient-id", default="", help="identifier of a patient in the PACS")
        parser.add_argument(
            "--studies",
            type=Path,
            metavar="FILE",
            help="a text file of Study Instance UIDs, one a line, in place of a search",
        )
        parser.add_argument("--list", action="store_true", help="count the studies, and import nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        site = Site.objects.filter(name=options["site"]).first()
        dataset = Dataset.objects.filter(site=site, name=options["dataset"]).select_related("site").first()
        if site is None or dataset is None:
            raise CommandError(f"There is no dataset {options['dataset']!r} at {options['site']!r}; make it first.")
        if why := why_retired([dataset]):
            raise CommandError(why)
        try:
            target = target_named(options["pacs"], site)
            studies = self._studies(site, options)
            self.stdout.write(f"{len(studies)} studies")
            if options["list"]:
                return
            items = plan_of(target=target, studies=studies).items
        except (InvalidPacsRequest, InvalidDatasetFact, PacsError) as error:
            raise CommandError(str(error)) from error
        upload = Upload.objects.create(dataset=dataset, heartbeat_at=timezone.now())
        try:
            import_studies(upload, items, on_progress=self._progress)
        except OtherKey as error:
            fail(upload, str(error))
            raise CommandError(str(error)) from error
        except ScannerAway as error:
            fail(upload, AWAY_AT_COMMAND)
            raise CommandError(f"{AWAY_AT_COMMAND} The same command goes on then.") from error
        except (PacsError, QuotaReached) as error:
            fail(upload, str(error))
            raise CommandError(f"{error} The films imported so far are kept; the same command goes on.") from error
        except BaseException:
            fail(upload, INTERRUPTED)
            raise
        finally:
            forget_fetched(upload)
        upload.refresh_from_db()
        self.stdout.write(upload.message)

    def _studies(self, site: Site, options: dict[str, Any]) -> list[str]:
        if (path := options["studies"]) is not None:
            try:
                return [line.strip() for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                raise CommandError(f"{path} is no text file of UIDs that can be read; check the path.") from error
        query = StudyQuery(
            first_day=date_of(options["first_day"], what="first day"),
            last_day=date_of(options["last_day"]),
            modality=options["modality"],
            patient_id=options["patient_id"],
        )
        answer = search(target=target_named(options["pacs"], site), query=query, site=site, author=None)
        if answer.has_more:
            raise CommandError(
                f"There are more than {MOST_STUDIES_LISTED} studies; choose fewer days, or pass --studies."
            )
        return [study.uid for study in answer.studies]

    def _progress(self, done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            self.stderr.write(f"\r{done} of {total} files", ending="\n" if done == total else "")
