import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from portal.intake import corrections
from portal.intake.csv_labels import InvalidCsv, read_boxes, read_labels
from portal.intake.entries import NamedFile, entries_of, entries_of_folder
from portal.intake.film_bucket import BucketAway
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.intake.mapping.facts import read_facts
from portal.intake.mapping.guesses import guess_mapping
from portal.intake.mapping.meaning import InvalidMapping, TableKind, TableMapping, check_mapping, mapping_of_json
from portal.intake.patient_identifiers import PatientSource
from portal.intake.pseudonym_key import OtherKey
from portal.intake.quotas import QuotaReached
from portal.intake.remembered_mappings import SiteMappings, remember
from portal.intake.scanned_files import Infected, TooLargeToScan, record_finding, require_clean
from portal.intake.sources.file_index import files_of_folder
from portal.intake.sources.importing import import_source
from portal.intake.sources.registry import SOURCES
from portal.intake.sources.source import Views
from portal.intake.stored_words import table_words
from portal.intake.tables import UnclearTable
from portal.intake.virus_scan import AWAY_AT_COMMAND, ScannerAway
from portal.intake.zip_uploads import INTERRUPTED, fail
from portal.models import Dataset, Site, Upload, User
from portal.people import audit, members
from portal.people.retired import why_retired

GOES_ON = "The films imported so far are kept; the same command goes on from there."


class Command(BaseCommand):
    help = (
        "Import a folder of DICOM, PNG, JPEG or TIFF films, with the labels of a CSV if there is one. "
        "Without a folder, the CSV labels films that are in the dataset. Run again after an interruption, it goes on."
    )

    _tenths = 0  # of the files, when progress was last written

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
        parser.add_argument(
            "--mapping",
            type=Path,
            metavar="FILE",
            help="JSON that says what columns and labels mean; a table that is not clear prints a draft of it",
        )
        parser.add_argument("--dataset", required=True, help="name of the dataset; created if it does not exist")
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument(
            "--make-site", action="store_true", help="make the site if there is none of this name, without asking"
        )
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
        parser.add_argument(
            "--source",
            choices=list(SOURCES),
            help="the films are those of a published dataset, with its tables as they were published: in the folder, "
            "or one of them named by --labels",
        )
        parser.add_argument(
            "--views",
            choices=list(Views),
            help="of a --source, the films to take by their view (default: pa for padchest, all for vindr, otherwise "
            "frontal)",
        )
        parser.add_argument(
            "--children", action="store_true", help="of a --source, also take the films of people under 18"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path | None = options["folder"]
        if folder is None and not options["labels"]:
            raise CommandError(
                "There is neither a folder nor --labels; pass a folder of films, a CSV of labels, or both."
            )
        if folder is not None and not folder.is_dir():
            raise CommandError(f"There is no folder {folder}; pass the folder that contains the films.")
        report = ImportReport(patients_of=PatientSource(options["patients"]), takes_new_facts=options["take_new_facts"])
        actor, site = self._user(options["user"]), self._site(options["site"], is_made=options["make_site"])
        if options["source"]:
            self._import_source(folder, options, site, actor=actor, report=report)
            return
        if options["views"] or options["children"]:
            raise CommandError("--views and --children say what to take of a published dataset; pass --source too.")
        for path in (options["labels"], options["boxes"], options["mapping"]):
            if path is not None:
                self._require_clean(path, site, actor)
        mappings = self._mappings(options, site, actor)
        try:
            rows = boxes = None
            if table := options["labels"]:
                mapping = self._mapping_of(table, mappings, TableKind.LABELS)
                rows = read_labels(table, report.skipped, mapping=mapping, fates=report.deidentified.tables)
            if table := options["boxes"]:
                mapping = self._mapping_of(table, mappings, TableKind.BOXES)
                boxes = read_boxes(table, report.skipped, mapping=mapping, fates=report.deidentified.tables)
        except UnclearTable as error:
            self._write_draft(table, folder)
            raise CommandError(f"{error} To say so, pass --mapping FILE; a draft of it is above.") from error
        except (InvalidCsv, InvalidMapping) as error:
            raise CommandError(str(error)) from error
        # the report is stored, and a table may be named after a patient
        names = {table.name: table_words(table.name) for table in (options["labels"], options["boxes"]) if table}
        report.skipped = [_renamed(sentence, names) for sentence in report.skipped]
        report.mapped = [_renamed(sentence, names) for sentence in mappings.sentences()]
        dataset = self._dataset(site, options["dataset"], actor, must_exist=folder is None)
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
        except KeyboardInterrupt as stop:
            fail(upload, INTERRUPTED)
            done = report.counts["imported"]
            films = "1 film is imported" if done == 1 else f"{done} films are imported"
            raise CommandError(f"Stopped. {films}; the same command goes on from there.", returncode=130) from stop
        except OtherKey as error:
            fail(upload, str(error))
            raise CommandError(str(error)) from error
        except (QuotaReached, BucketAway) as error:
            fail(upload, str(error))
            raise CommandError(f"{error} {GOES_ON}") from error
        except ScannerAway as error:
            fail(upload, AWAY_AT_COMMAND)
            raise CommandError(f"{AWAY_AT_COMMAND} {GOES_ON}") from error
        except BaseException:
            fail(upload, INTERRUPTED)
            raise
        self._write_report(upload, report, actor)

    def _import_source(
        self, folder: Path | None, options: Mapping[str, Any], site: Site, *, actor: User | None, report: ImportReport
    ) -> None:
        if folder is None:
            raise CommandError("A published dataset is imported from its folder; pass the folder of its films.")
        if options["boxes"] or options["mapping"]:
            raise CommandError(
                "The tables of a published dataset are read as they were published; leave --boxes and --mapping out."
            )
        source = SOURCES[options["source"]]
        table: Path | None = options["labels"]
        if table is not None and not table.is_file():
            raise CommandError(f"There is no table {table}; check the path.")
        wanted = source.options_of(options)
        dataset = self._dataset(site, options["dataset"], actor, must_exist=False)
        upload = Upload.objects.create(
            dataset=dataset,
            uploaded_by=actor,
            heartbeat_at=timezone.now(),
            source=source.key,
            options=wanted.to_json(),
        )
        try:
            import_source(
                upload=upload,
                source=source,
                options=wanted,
                files=files_of_folder(folder),
                tables=[NamedFile(table.name, table)] if table else [],
                report=report,
                actor=actor,
                processes=options["processes"],
                on_progress=self._progress,
            )
        except (InvalidCsv, TooLargeToScan) as error:
            fail(upload, str(error))
            raise CommandError(str(error)) from error
        except Infected as found:
            record_finding(signature=found.signature, site=site, author=actor, dataset=dataset, upload=str(upload.uuid))
            fail(upload, str(found))
            raise CommandError(str(found)) from found
        except ScannerAway as error:
            fail(upload, AWAY_AT_COMMAND)
            raise CommandError(f"{AWAY_AT_COMMAND} {GOES_ON}") from error
        except KeyboardInterrupt as stop:
            fail(upload, INTERRUPTED)
            raise CommandError("Stopped; the same command goes on from there.", returncode=130) from stop
        except BaseException:
            fail(upload, INTERRUPTED)
            raise
        self._write_report(upload, report, actor)

    def _require_clean(self, path: Path, site: Site, actor: User | None) -> None:
        try:
            require_clean(path, words=str(path))
        except Infected as found:
            record_finding(signature=found.signature, site=site, author=actor)
            raise CommandError(str(found)) from found
        except TooLargeToScan as error:
            raise CommandError(str(error)) from error
        except ScannerAway as error:
            raise CommandError(AWAY_AT_COMMAND) from error

    def _write_report(self, upload: Upload, report: ImportReport, actor: User | None) -> None:
        for sentence in report.sentences():
            self.stdout.write(sentence)
        if report.takes_new_facts and report.counts["another header"]:
            for sentence in corrections.take_of_upload(upload, actor=actor).sentences("taken"):
                self.stdout.write(sentence)
        if report.first_names is not None:
            self.stdout.write(f"  the first of these names in the CSV: {', '.join(report.first_names.table)}")
            self.stdout.write(f"  the first files without a row: {', '.join(report.first_names.files) or 'none'}")
        for refused in report.refused:
            self.stdout.write(f"  refused by the virus scanner: {refused}")
        if report.has_matched_nothing:
            raise CommandError(f"{report.sentences()[0]}.")
        for quarantined in upload.quarantined.all():
            self.stdout.write(
                f"  quarantined {quarantined.name or quarantined.source_sha256[:12]}: {quarantined.sentence}"
            )
        for sentence in report.deidentified.sentences():
            self.stdout.write(sentence)

    def _progress(self, done: int, total: int) -> None:
        """One line that changes in a terminal, elsewhere a line for each tenth."""
        if sys.stderr.isatty():
            self.stderr.write(f"\r{done} of {total} files", ending="\n" if done == total else "")
        elif (tenths := done * 10 // total) > self._tenths:
            self._tenths = tenths
            self.stderr.write(f"{done} of {total} files")

    def _user(self, name: str | None) -> User | None:
        if not name:
            return None
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user {name!r}; pass an existing user name, or omit --user.")
        return user

    def _mappings(self, options: Mapping[str, Any], site: Site, actor: User | None) -> SiteMappings:
        """The mappings of the file, checked and remembered for the site, and those that it remembers."""
        path: Path | None = options["mapping"]
        if path is None:
            return SiteMappings(site)
        try:
            tables = json.loads(path.read_text(encoding="utf-8"))["tables"]
            of_table = {name: mapping_of_json(data, name) for name, data in tables.items()}
        except OSError as error:
            raise CommandError(f"The mapping file {path} cannot be read; check the path.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CommandError(f'{path} is no mapping file: JSON like {{"tables": {{"labels.csv": …}}}}.') from error
        except InvalidMapping as error:
            raise CommandError(str(error)) from error
        kinds = {path.name: kind for kind in (TableKind.LABELS, TableKind.BOXES) if (path := options[kind])}
        paths = {options[kind].name: options[kind] for kind in kinds.values()}
        if unknown := sorted(set(of_table) - set(paths)):
            raise CommandError(
                f"The mapping file names the table {unknown[0]!r}; the tables of this import are "
                f"{', '.join(sorted(paths)) or 'none (pass --labels)'}."
            )
        chosen = []
        try:
            for name, mapping in of_table.items():
                facts = read_facts(paths[name])
                check_mapping(mapping, facts)
                self._check_kind(paths[name], mapping, kinds[name])
                chosen.append(remember(site, mapping, facts.columns, actor))
        except (InvalidCsv, InvalidMapping) as error:
            raise CommandError(str(error)) from error
        return SiteMappings(site, chosen)

    def _mapping_of(self, table: Path, mappings: SiteMappings, kind: TableKind) -> TableMapping | None:
        mapping = mappings.mapping_of(table)
        self._check_kind(table, mapping, kind)
        return mapping

    def _check_kind(self, table: Path, mapping: TableMapping | None, kind: TableKind) -> None:
        if mapping is not None and mapping.kind != kind:
            raise InvalidMapping(
                f"By its mapping {table.name} is of the kind {mapping.kind}, and --{kind} names it; pass a "
                f"--mapping with the kind {kind}, or the table as what it is."
            )

    def _write_draft(self, table: Path, folder: Path | None) -> None:
        files = [path.name for path in folder.rglob("*") if path.is_file()] if folder else []
        facts = read_facts(table)
        draft = guess_mapping(facts, files).to_json()
        if column := draft["columns"].get("label"):
            values = [value.casefold() for value in facts.values_of(column).counts]
            draft["labels"] = {value: draft["labels"].get(value, "?") for value in values}
        self.stdout.write(json.dumps({"tables": {table.name: draft}}, indent=2, ensure_ascii=False))

    def _site(self, name: str, *, is_made: bool) -> Site:
        """The site of this name, made if the caller wants it, or says so when asked at a terminal."""
        if site := Site.objects.filter(name=name).first():
            return site
        names = ", ".join(Site.objects.values_list("name", flat=True)) or "none yet"
        missing = f"There is no site {name!r}; existing sites: {names}."
        if not is_made and sys.stdin.isatty():
            is_made = input(f"{missing} Make it? Type yes: ").strip().lower() == "yes"
        if not is_made:
            raise CommandError(f"{missing} Pass --make-site to make it.")
        try:
            return members.make_site_without_manager(name)
        except members.InvalidPerson as error:
            raise CommandError(str(error)) from error

    def _dataset(self, site: Site, name: str, actor: User | None, *, must_exist: bool) -> Dataset:
        if must_exist and not Dataset.objects.filter(site=site, name=name).exists():
            raise CommandError(f"There is no dataset {name!r} at {site.name}, so the CSV names no film that is there.")
        dataset, created = Dataset.objects.get_or_create(site=site, name=name, defaults={"created_by": actor})
        if created:
            audit.record(verb="make dataset", site=site, actor=actor, target=dataset, after={"name": name})
        if why := why_retired([dataset]):
            raise CommandError(why)
        return dataset


def _renamed(sentence: str, names: Mapping[str, str]) -> str:
    for name, stored in names.items():
        sentence = sentence.replace(name, stored)
    return sentence
