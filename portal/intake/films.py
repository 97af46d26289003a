"""Import: a file becomes a checked, de-identified Image, or a row in quarantine with the reason.

An import can be repeated at any time: a file that was already imported is recognised by its hash, and only the changes
in its CSV row are appended. A killed import continues where it stopped when it is run again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from portal.imaging.decoding import Decoder
from portal.imaging.deidentify import pseudonym
from portal.imaging.errors import UnusableFile
from portal.imaging.film import PATIENT_ID
from portal.imaging.film_warnings import keys_of
from portal.imaging.orientation import UPRIGHT
from portal.intake import film_files, quarantine_files
from portal.intake.csv_labels import Box, CsvRow
from portal.intake.entries import Entry
from portal.intake.erased_patients import ErasedKeys
from portal.intake.film_boxes import fit_boxes
from portal.intake.film_labels import AmbiguousName, FilmNames, RowOutcome, append_change, has_label_of_readers
from portal.intake.film_storage import find_or_store
from portal.intake.films_ahead import FilmsAhead
from portal.intake.first_names import keep_first_names
from portal.intake.header_differences import differences, keep_differences
from portal.intake.import_report import WARNED, ImportReport
from portal.intake.name_matching import Rule
from portal.intake.patient_identifiers import (
    PatientDifference,
    PatientIdentifier,
    PatientSource,
    patient_identifier,
    spellings_of_number,
)
from portal.intake.pseudonym_key import require_same_key, site_key
from portal.intake.quotas import film_bytes, grow, require_room
from portal.intake.scanned_files import INFECTED, TOO_LARGE, InfectedFilm, record_finding
from portal.models import Image, QuarantinedFile, Upload, User
from portal.people import audit, blinding

SECONDS_BETWEEN_HEARTBEATS = 2.0
LeaveOut = Callable[[CsvRow | None, Mapping[str, str]], str | None]
FILMS_BETWEEN_LOOKS = 50  # at the quota of the site


def import_entries(
    *,
    upload: Upload,
    entries: Sequence[Entry],
    report: ImportReport,
    actor: User | None,
    are_scanned: bool = False,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """Import every entry into the upload's dataset and mark the upload as done. Unless the files `are_scanned`, the
    virus scanner gets each before it is decoded. `processes` decode the films, by default as many as the settings say.
    Raises OtherKey, and QuotaReached and ScannerAway; then the films imported so far are kept, and the import goes on
    from there when it is begun again."""
    batch = Batch(entries, rows=len(entries))
    return import_batches(
        upload=upload,
        batches=[batch],
        total=batch.rows,
        report=report,
        actor=actor,
        are_scanned=are_scanned,
        processes=processes,
        on_progress=on_progress,
    )


def take_all(row: CsvRow | None, header: Mapping[str, str]) -> str | None:
    return None


@dataclass(frozen=True)
class Batch:
    """Entries of an import that are gone through together, and how many rows of its table they stand for. With
    `asks_for_copies`, files that are in the dataset under another name are not decoded: all hashes are read for
    that. `leave_out` names the count of a film that is not to be stored, by its row and its header; `bits` are used of
    the 16 of its pictures."""

    entries: Sequence[Entry]
    rows: int
    asks_for_copies: bool = True
    leave_out: LeaveOut = take_all
    bits: int | None = None


def import_batches(
    *,
    upload: Upload,
    batches: Iterable[Batch],
    total: int,
    report: ImportReport,
    actor: User | None,
    are_scanned: bool = False,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """`import_entries` for a table that is read bit by bit: nothing of a batch is kept once it is imported. Raises
    OtherKey, QuotaReached and ScannerAway."""
    require_same_key(upload.dataset.site)
    Upload.objects.filter(pk=upload.pk).update(
        state=Upload.State.IMPORTING, total=total, done=0, heartbeat_at=timezone.now()
    )
    imported: set[int] = set()
    erased = ErasedKeys(upload.dataset.site)
    done = 0
    report.deidentified.add_earlier(upload.deidentification)
    progress = _Progress(upload, total, report, on_progress)
    with _flushed_together():
        for batch in batches:
            _import_batch(
                upload,
                batch,
                report,
                imported=imported,
                rules=_Rules(batch.leave_out, batch.bits, erased, are_scanned),
                processes=processes,
                on_progress=partial(progress.at, done),
            )
            done += batch.rows
            progress.at(done, 0)
    _close(upload, report, actor)
    return report


@dataclass(frozen=True)
class _Rules:
    leave_out: LeaveOut
    bits: int | None
    erased: ErasedKeys
    are_scanned: bool


@dataclass(frozen=True)
class _Progress:
    upload: Upload
    total: int
    report: ImportReport
    on_progress: Callable[[int, int], None]

    def at(self, before: int, number: int) -> None:
        """`number` of a batch are done, and `before` in those before it."""
        Upload.objects.filter(pk=self.upload.pk).update(
            done=before + number,
            heartbeat_at=timezone.now(),
            deidentification=self.report.deidentified.to_json(),
        )
        self.on_progress(before + number, self.total)


def _import_batch(
    upload: Upload,
    batch: Batch,
    report: ImportReport,
    *,
    imported: set[int],
    rules: _Rules,
    processes: int | None,
    on_progress: Callable[[int], None],
) -> None:
    last_heartbeat = time.monotonic()
    entries = batch.entries
    # before a film is stored, whose name would be one of them
    without_file = [entry for entry in entries if entry.path is None and entry.there is None]
    rows_there = [entry.row for entry in without_file if entry.row is not None]
    names = FilmNames(upload.dataset, rows_there) if rows_there else None
    with _films_ahead(upload, batch, processes or settings.IMPORT_PROCESSES, rules) as ahead:
        for done, entry in enumerate(entries, start=1):
            try:
                if done % FILMS_BETWEEN_LOOKS == 1:
                    require_room(upload.dataset.site, 0, what="This import")
                if entry.there is not None:
                    count = _change_there(upload, entry, entry.there, report, imported)
                elif entry.path is None and names is not None:
                    count = _label_there(upload, entry, names, report, imported)
                else:
                    count = _import_one(upload, entry, ahead, report, imported, rules=rules)
                report.counts[count] += count != "missing"  # the report counts those by their names
            except Exception:
                on_progress(done - 1)  # the number of files done, for the audit
                raise
            if time.monotonic() - last_heartbeat >= SECONDS_BETWEEN_HEARTBEATS:
                last_heartbeat = time.monotonic()
                on_progress(done)


@contextmanager
def _flushed_together() -> Iterator[None]:
    """PostgreSQL need not wait for the disk after each film: it writes its log in order, so the first commit after this
    block, or of somebody who has seen a film, flushes those of all films before. Only a crash of the machine in between
    can lose films, which the import has not reported; their files are still there, and it is repeated."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO off")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("RESET synchronous_commit")


@contextmanager
def _films_ahead(upload: Upload, batch: Batch, processes: int, rules: _Rules) -> Iterator[FilmsAhead]:
    """The films of the entries, decoded ahead of their turn, except those that are there."""
    paths = [entry.path for entry in batch.entries if entry.path is not None and entry.there is None]
    asks = bool(paths) and batch.asks_for_copies
    known = set(upload.dataset.images.values_list("source_sha256", flat=True)) if asks else set()
    inverted = {entry.path for entry in batch.entries if entry.row and entry.row.photometric == "MONOCHROME1"}
    with ExitStack() as stack:
        decoders = [stack.enter_context(Decoder()) for _ in range(max(1, min(processes, len(paths))))]
        ahead = FilmsAhead(
            decoders,
            paths,
            known.__contains__,
            lambda: _beat(upload),
            bits=rules.bits,
            inverted=inverted,
            are_scanned=rules.are_scanned,
        )
        yield stack.enter_context(ahead)


def _beat(upload: Upload) -> None:
    """A film may wait for other imports, which decode theirs."""
    Upload.objects.filter(pk=upload.pk).update(heartbeat_at=timezone.now())


def _close(upload: Upload, report: ImportReport, actor: User | None) -> None:
    if report.first_names is not None and upload.uploaded_by is not None:
        keep_first_names(upload, report.first_names)
    with transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(
            state=Upload.State.FAILED if report.has_matched_nothing else Upload.State.DONE,
            counts=report.to_json(),
            deidentification=report.deidentified.to_json(),
            message="; ".join(report.sentences()) + ".",
            finished_at=timezone.now(),
        )
        verb = "fail to import films" if report.has_matched_nothing else "import films"
        audit.record(verb=verb, site=upload.dataset.site, actor=actor, target=upload.dataset, after=report.to_json())


def _import_one(
    upload: Upload, entry: Entry, ahead: FilmsAhead, report: ImportReport, imported: set[int], *, rules: _Rules
) -> str:
    """Import one file and return the name of the count to increase. `imported`: ids of the films of this import."""
    dataset = upload.dataset
    path = entry.path
    assert path is not None
    source = ahead.source_sha256(path)
    # A file in quarantine is tried again: the cause may be gone, such as a busy server or a missing decoder.
    quarantined = QuarantinedFile.objects.filter(dataset=dataset, source_sha256=source).first()
    image, is_new = dataset.images.filter(source_sha256=source).first(), False
    if image is not None:
        entry = _fitted(entry, image.rows, image.columns, image.header, report)
    else:
        try:
            film, header = ahead.decode(path)
        except UnusableFile as unusable:
            of_patient = _patient_identifier(entry, {PATIENT_ID: unusable.patient_id}, report.patients_of)
            if rules.erased.holds(of_patient):
                return _leave_out_erased(quarantined)
            count = _quarantine(upload, entry, source, unusable)
            report.refused += [path] if count in (INFECTED, TOO_LARGE) else []
            return count
        if left_out := rules.leave_out(entry.row, header):
            film_files.remove_unused_pixels(film.pixel_sha256)
            return left_out
        entry = _fitted(entry, film.facts.rows, film.facts.columns, header, report)
        report.deidentified.add(header, film.facts.source)
        of_patient = _patient_identifier(entry, header, report.patients_of)
        if rules.erased.holds(of_patient, film.pixel_sha256):
            return _leave_out_erased(quarantined)
        image, is_new = find_or_store(dataset, entry, source, film, header, of_patient=of_patient)
        if is_new:
            grow(dataset.site, film_bytes(image))
            _count_difference(entry, header, of_patient, report)
            _count_differing_person(image, entry, header, report)
            report.counts.update(WARNED + key for key in keys_of(header))
        else:
            corrections = differences(image, entry.row, film.facts, header, of_patient)
            kept = keep_differences(upload, image, source, corrections, ask_again=report.takes_new_facts)
            report.count_corrections(kept)
    if quarantined is not None:
        report.counts["left quarantine"] += _release(quarantined, image, upload.uploaded_by)
    if image.pk in imported:  # a film that already has a row ignores this one
        return "the same film again"
    imported.add(image.pk)
    if is_new:
        return "imported"
    if entry.row is not None and _is_withheld(upload, image):
        return "read blinded"
    _append_changes(image, entry, report)
    return "there already"


def _fitted(entry: Entry, rows: int, columns: int, header: Mapping[str, str], report: ImportReport) -> Entry:
    """The entry with its boxes inside its film; those of a row without a label were counted as left aside."""
    orientation = int(header.get("exif_orientation", UPRIGHT))

    def inside(boxes: Sequence[Box]) -> tuple[Box, ...]:
        fitted = fit_boxes(boxes, rows=rows, columns=columns, orientation=orientation)
        report.counts.update({"boxes outside": fitted.outside, "boxes cut": fitted.cut, "boxes turned": fitted.turned})
        return fitted.boxes

    row = entry.row
    if row is not None and row.readings:
        readings = tuple(replace(reading, boxes=inside(reading.boxes)) for reading in row.readings)
        return replace(entry, row=replace(row, readings=readings))
    if not entry.boxes or row is None or not row.label:
        return entry
    return replace(entry, boxes=inside(entry.boxes))


def _quarantine(upload: Upload, entry: Entry, source: str, unusable: UnusableFile) -> str:
    quarantined, is_new = QuarantinedFile.objects.get_or_create(
        dataset=upload.dataset,
        source_sha256=source,
        defaults={
            "upload": upload,
            "name": entry.name if entry.row else "",
            "reason": unusable.reason,
            "sentence": unusable.sentence,
        },
    )
    if unusable.reason == INFECTED:
        quarantine_files.forget(quarantined)
    elif unusable.reason != TOO_LARGE:
        quarantine_files.keep(quarantined, entry, unusable.preview)
    if (quarantined.reason, quarantined.sentence) != (unusable.reason, unusable.sentence):
        quarantined.reason, quarantined.sentence = unusable.reason, unusable.sentence
        quarantined.save(update_fields=["reason", "sentence"])
    if isinstance(unusable, InfectedFilm):
        record_finding(
            signature=unusable.signature,
            site=upload.dataset.site,
            author=upload.uploaded_by,
            dataset=upload.dataset,
            upload=str(upload.uuid),
            sha256=source,
        )
    if unusable.reason in (INFECTED, TOO_LARGE):
        return unusable.reason
    return "quarantined" if is_new else "quarantined already"


def _leave_out_erased(quarantined: QuarantinedFile | None) -> str:
    """Of an erased patient nothing stays in quarantine either."""
    if quarantined is not None:
        quarantine_files.remove(quarantined)
        quarantined.delete()
    return "of erased patients"


def _release(quarantined: QuarantinedFile, image: Image, actor: User | None) -> int:
    """Take the file out of quarantine, since it is a film now, and remove its bytes. Return 1, or 0 if another import
    was first."""
    before = {"reason": quarantined.reason, "sentence": quarantined.sentence}
    with transaction.atomic():
        deleted, _ = QuarantinedFile.objects.filter(pk=quarantined.pk).delete()
        if deleted:
            site = image.dataset.site
            audit.record(verb="release from quarantine", site=site, actor=actor, target=image, before=before)
    quarantine_files.remove(quarantined)
    return deleted


def _append_changes(image: Image, entry: Entry, report: ImportReport) -> None:
    """Append the changed label of a corrected CSV."""
    if entry.row is None:
        return
    if _fixed_facts_differ(image, entry.row, report.patients_of):
        report.counts["kept as imported"] += 1
    if append_change(image, entry.row, entry.boxes) in (RowOutcome.LABELLED, RowOutcome.CHANGED):
        report.counts["label events"] += 1


def _change_there(upload: Upload, entry: Entry, image: Image, report: ImportReport, imported: set[int]) -> str:
    """Append what the row changes of a film that an earlier import stored under its name, without opening its file."""
    if image.pk in imported:
        return "the same film again"
    imported.add(image.pk)
    if _is_withheld(upload, image):
        return "read blinded"
    _append_changes(image, _fitted(entry, image.rows, image.columns, image.header, report), report)
    return "there already"


def _label_there(upload: Upload, entry: Entry, names: FilmNames, report: ImportReport, imported: set[int]) -> str:
    """Give a film that is in the dataset the label of its row, and return the name of the count to increase."""
    assert entry.row is not None
    try:
        image, rule = names.film_of(entry.row)
    except AmbiguousName:
        image, count = None, "ambiguous names"
        report.ambiguous_films.append(entry.row)
    else:
        count = "missing"
        report.counts[rule] += image is not None and rule != Rule.EXACT
    if image is None:
        report.counts["boxes left aside"] += len(entry.boxes or ()) if entry.row.label else 0
        if count == "missing":
            report.missing.append(entry.row)
        return count
    if image.pk in imported:
        return "the same film again"
    imported.add(image.pk)
    if _is_withheld(upload, image):
        return "read blinded"
    if _fixed_facts_differ(image, entry.row, report.patients_of):
        report.counts["kept as imported"] += 1
    fitted = _fitted(entry, image.rows, image.columns, image.header, report)
    outcome = append_change(image, entry.row, fitted.boxes)
    if outcome in (RowOutcome.LABELLED, RowOutcome.CHANGED) and has_label_of_readers(image):
        report.counts["readers' labels stay"] += 1
    return outcome


def _is_withheld(upload: Upload, image: Image) -> bool:
    """Whether the uploader reads the film blinded: what is counted of a row tells whether its label is that of the
    film."""
    return upload.uploaded_by is not None and blinding.is_withheld(upload.uploaded_by, image)


def _fixed_facts_differ(image: Image, row: CsvRow, patients_of: PatientSource) -> bool:
    if row.projection and row.projection != image.view_position:
        return True
    if "split" in row.columns and not row.unknown_split and row.split != image.csv_split:
        return True
    if not row.patient_id or patients_of == PatientSource.HEADER:  # the header is not there any more
        return False
    if row.patient_id == str(image.patient.uuid):
        return False
    key = site_key(image.dataset.site)
    names = (pseudonym(key, spelling) for spelling in spellings_of_number(row.patient_id))
    return image.patient.pseudonym not in names


def _patient_identifier(entry: Entry, header: Mapping[str, str], counts: PatientSource) -> PatientIdentifier:
    table = entry.row.patient_id if entry.row else ""
    return patient_identifier(table=table, header=header.get(PATIENT_ID, ""), counts=counts)


def _count_differing_person(image: Image, entry: Entry, header: Mapping[str, str], report: ImportReport) -> None:
    """Count a row whose sex is not that of the film's header or patient, or whose age is more than a year off the
    header's: the header, and what was imported first, counts."""
    if entry.row is None:
        return
    sexes = {header.get("patient_sex", ""), image.patient.sex, entry.row.sex} - {""}
    report.counts["sex differs"] += bool(entry.row.sex) and len(sexes) > 1
    ages = [header.get("age_years", ""), entry.row.age_years]
    report.counts["age differs"] += all(map(str.isdigit, ages)) and abs(int(ages[0]) - int(ages[1])) > 1


def _count_difference(
    entry: Entry, header: Mapping[str, str], of_patient: PatientIdentifier, report: ImportReport
) -> None:
    if of_patient.difference and entry.row and not report.source:  # published headers name a film for its patient
        report.counts[of_patient.difference] += 1
        if of_patient.difference == PatientDifference.PATIENT:
            report.differing.add((entry.row.patient_id, header.get(PATIENT_ID, "")))
