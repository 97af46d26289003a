import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from portal.intake import corrections
from portal.intake.csv_labels import InvalidCsv, read_boxes, read_labels
from portal.intake.entries import entries_of, entries_of_folder
from portal.intake.films import import_entries
from portal.intake.import_report import NOTHING_MATCHED, ImportReport
from portal.intake.patient_identifiers import PatientSource
from portal.intake.zip_uploads import INTERRUPTED, fail
from portal.models import Dataset, Site, Upload, User
from portal.people import audit


class Command(BaseCommand):
    help = (
        "Import a folder of DICOM, PNG, JPEG or TIFF films, with the labels of a CSV if there is one. "
        "Without a folder, the CSV labels films that are in the dataset."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder", type=Path, nargs="?", metavar="DIR", help="folder of the films, with its subfolders"
        )
        parser.add_argument(
            "--labels",
            type=Path,
            metavar="FILE",
            help="CSV, TSV or XLSX: filename, label, patient_id, projection, split, finding",
        )
        parser.add_argument(
            "--boxes", type=Path, metavar="FILE", help="CSV, TSV or XLSX: filename, x, y, width, height, finding"
        )
        parser.add_argument("--dataset", required=True, help="name of the dataset; created if it does not exist")
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument(
            "--patients",
            choices=list(PatientSource),
            default=PatientSource.TABLE,
            help="what counts where the table and a DICOM header name two patients (default: %(default)s)",
        )
        parser.add_argument(
            "--take-new-facts",
            action="store_true",
            help="films that come again with another header take its facts (view, spacing, patient …), which otherwise "
            "wait for a decision on the dataset's page. A film that would put one person into two parts of a frozen "
            "split keeps its patient",
        )
        parser.add_argument(
            "--processes",
            type=int,
            choices=range(1, 65),
            metavar="N",
            default=settings.IMPORT_PROCESSES,
            help="processes that decode films, from 1 to 64 (default: %(default)s)",
        )
        parser.add_argument("--user", help="name of the user whom the audit records")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path | None = options["folder"]
        if folder is None and not options["labels"]:
            raise CommandError(
                "There is neither a folder nor --labels; pass a folder of films, a CSV of labels, or both."
            )
        if folder is not None and not folder.is_dir():
            raise CommandError(f"There is no folder {folder}; pass the folder that contains the films.")
        report = ImportReport(patients_of=PatientSource(options["patients"]), takes_new_facts=options["take_new_facts"])
        try:
            rows = read_labels(options["labels"], report.skipped) if options["labels"] else None
            boxes = read_boxes(options["boxes"], report.skipped) if options["boxes"] else None
        except InvalidCsv as error:
            raise CommandError(str(error)) from error
        actor = self._user(options["user"])
        dataset = self._dataset(options["site"], options["dataset"], actor, must_exist=folder is None)
        entries = entries_of_folder(folder, rows, boxes, report) if folder else entries_of([], rows, boxes, report)
        upload = Upload.objects.create(dataset=dataset, uploaded_by=actor, heartbeat_at=timezone.now())
        try:
            import_entries(
                upload=upload,
                entries=entries,
                report=report,
                actor=actor,
                processes=options["processes"],
                on_progress=self._progress,
            )
        except BaseException:
            fail(upload, INTERRUPTED)
            raise
        for sentence in report.sentences():
            self.stdout.write(sentence)
        if report.takes_new_facts and report.counts["another header"]:
            for sentence in corrections.take_of_upload(upload, actor=actor).sentences("taken"):
                self.stdout.write(sentence)
        if report.first_names is not None:
            self.stdout.write(f"  the first of these names in the CSV: {', '.join(report.first_names.table)}")
            self.stdout.write(f"  the first files without a row: {', '.join(report.first_names.files) or 'none'}")
        if report.has_matched_nothing:
            raise CommandError(f"{NOTHING_MATCHED}.")
        for quarantined in upload.quarantined.all():
            self.stdout.write(
                f"  quarantined {quarantined.name or quarantined.source_sha256[:12]}: {quarantined.sentence}"
            )

    def _progress(self, done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            self.stderr.write(f"\r{done} of {total} files", ending="\n" if done == total else "")

    def _user(self, name: str | None) -> User | None:
        if not name:
            return None
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user {name!r}; pass an existing user name, or omit --user.")
        return user

    def _dataset(self, site_name: str, name: str, actor: User | None, *, must_exist: bool) -> Dataset:
        site = Site.objects.filter(name=site_name).first()
        if site is None:
            existing = ", ".join(Site.objects.values_list("name", flat=True)) or "none yet; create one in the admin"
            raise CommandError(f"There is no site {site_name!r}; existing sites: {existing}.")
        if must_exist and not Dataset.objects.filter(site=site, name=name).exists():
            raise CommandError(f"There is no dataset {name!r} at {site_name}, so the CSV names no film that is there.")
        dataset, created = Dataset.objects.get_or_create(site=site, name=name, defaults={"created_by": actor})
        if created:
            audit.record(verb="make dataset", site=site, actor=actor, target=dataset, after={"name": name})
        return dataset
