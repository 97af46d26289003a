"""Import: a file becomes a checked, de-identified Image, or a row in quarantine with the reason.

An import can be repeated at any time: a file that was already imported is recognised by its hash, and only the changes
in its CSV row are appended. A killed import continues where it stopped when it is run again.
"""

import hashlib
import hmac
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.imaging.acquisition import shifted_day
from portal.imaging.decoding import Decoder
from portal.imaging.deidentify import pseudonym
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, pack, pixel_sha256, preview
from portal.imaging.film_warnings import WARNINGS, keys_of
from portal.imaging.orientation import UPRIGHT
from portal.imaging.visibility import SHOWS_NOTHING
from portal.intake import film_files
from portal.intake.csv_labels import Box, CsvRow
from portal.intake.film_boxes import fit_boxes
from portal.intake.film_labels import (
    AmbiguousName,
    FilmNames,
    RowOutcome,
    append_change,
    append_label,
    has_label_of_readers,
)
from portal.intake.first_names import MOST, FirstNames, keep_first_names
from portal.intake.name_matching import ENDINGS, Match, Rule, match_names, name_shape
from portal.intake.patient_identifiers import (
    PatientDifference,
    PatientIdentifier,
    PatientSource,
    patient_identifier,
    spellings_of_number,
)
from portal.models import (
    Dataset,
    Image,
    Patient,
    QuarantinedFile,
    Site,
    Study,
    Upload,
    User,
)
from portal.people import audit, blinding

IMAGE_ENDINGS = ENDINGS | {""}
_CLUTTER = frozenset({"DICOMDIR", "THUMBS.DB", "DESKTOP.INI"})
SECONDS_BETWEEN_HEARTBEATS = 2.0
_MOST_NAMED = 10
# Sentences for each count, in the singular and the plural.
_SENTENCES: dict[str, tuple[str, str]] = {
    "imported": ("film imported", "films imported"),
    "there already": ("film was already imported", "films were already imported"),
    "label events": (
        "label event appended for a change in the CSV",
        "label events appended for changes in the CSV",
    ),
    "kept as imported": (
        "film keeps its original patient, projection and split; import into a new dataset to use those of the CSV",
        "films keep their original patient, projection and split; import into a new dataset to use those of the CSV",
    ),
    "the same film again": (
        "file holds the same film as an earlier file of this import and was skipped",
        "files hold the same film as an earlier file of this import and were skipped",
    ),
    "quarantined": ("file in quarantine, with the reason", "files in quarantine, with the reasons"),
    "quarantined already": ("file was already in quarantine", "files were already in quarantine"),
    "left quarantine": (
        "file left quarantine, because it can be decoded now",
        "files left quarantine, because they can be decoded now",
    ),
    Rule.FOLDERS: (
        "name of the CSV matched by the end of its path, since the folders above it differ",
        "names of the CSV matched by the ends of their paths, since the folders above them differ",
    ),
    Rule.CASE: (
        "name of the CSV matched without regard to upper and lower case",
        "names of the CSV matched without regard to upper and lower case",
    ),
    Rule.ENDING: (
        "name of the CSV matched without its ending (such as .png)",
        "names of the CSV matched without their endings (such as .png)",
    ),
    "not in the CSV": (
        "file skipped, because the CSV does not list it",
        "files skipped, because the CSV does not list them",
    ),
    "no films": (
        "file skipped, because its file type is not that of a film",
        "files skipped, because their file types are not those of films",
    ),
    "boxes left aside": (
        "box skipped, because its film has no label in the CSV or is not there",
        "boxes skipped, because their films have no label in the CSV or are not there",
    ),
    "boxes outside": (
        "box skipped, because it lies beside its film",
        "boxes skipped, because they lie beside their films",
    ),
    "boxes cut": ("box cut at the edge of its film", "boxes cut at the edges of their films"),
    "boxes turned": (
        "box turned with its film, as the film's EXIF orientation says",
        "boxes turned with their films, as the films' EXIF orientations say",
    ),
    RowOutcome.LABELLED: ("film that is there was labelled", "films that are there were labelled"),
    RowOutcome.CHANGED: (
        "film that is there has another imported label than before",
        "films that are there have other imported labels than before",
    ),
    RowOutcome.UNCHANGED: (
        "film that is there has this imported label already",
        "films that are there have these imported labels already",
    ),
    RowOutcome.NO_LABEL: (
        "row without a label names a film that is there, and changes nothing",
        "rows without a label name films that are there, and change nothing",
    ),
    "readers' labels stay": (
        "of these films keeps the label of its readers, which counts before an imported one",
        "of these films keep the labels of their readers, which count before imported ones",
    ),
    "read blinded": (
        "row or file is of a film that its uploader has yet to read blinded, or of the same patient, and was left out",
        "rows or files are of films that their uploader has yet to read blinded, or of these patients, and left out",
    ),
    "ambiguous names": (
        "name of the CSV stands for several films that are there, and labels none; use its path or its image UUID",
        "names of the CSV stand for several films that are there, and label none; use paths or image UUIDs",
    ),
    "ambiguous files": (
        "row of the CSV left aside, because its name fits several files of this import, or its file several rows",
        "rows of the CSV left aside, because their names fit several files of this import, or their files several rows",
    ),
    "unknown views": (
        "row of the CSV with a projection that is not known, which is kept as unknown",
        "rows of the CSV with a projection that is not known, which is kept as unknown",
    ),
    PatientDifference.PATIENT: (
        "film whose table names another patient than its header",
        "films whose table names another patient than their headers",
    ),
    PatientDifference.SPELLING: (
        "film whose table and header spell the number of its patient differently (12, 00012), which is one patient",
        "films whose table and header spell the number of a patient differently (12, 00012), which is one patient",
    ),
    "rows skipped": (
        "row of a table skipped, because a value in it cannot be used",
        "rows of tables skipped, because a value in each cannot be used",
    ),
    "findings without a label": (
        "row with findings and no label; they are kept beside the film and count once it has a label in a CSV",
        "rows with findings and no label; they are kept beside the films and count once these have labels in a CSV",
    ),
    "missing": (
        "file listed in the CSV is neither in this import nor in the dataset",
        "files listed in the CSV are neither in this import nor in the dataset",
    ),
    "names twice": (
        "name in the zip stands for several files; without a CSV each is a film, with one it names none",
        "names in the zip stand for several files; without a CSV each is a film, with one they name none",
    ),
    "tables left aside": (
        "CSV left aside, because it has no column of file names",
        "CSVs left aside, because they have no column of file names",
    ),
    "zips left closed": (
        "zip inside a zip of the zip left closed; send it by itself",
        "zips inside zips of the zip left closed; send them by themselves",
    ),
    "columns left out": (
        "column of the CSV left out, because it may identify a person",
        "columns of the CSV left out, because they may identify a person",
    ),
}
NOTHING_MATCHED = (
    "Nothing was imported: no row of the CSV names a file of this import or a film of the dataset; "
    "compare the names in the CSV with those of the files"
)
# The names of the counts of films with a warning, and their sentences.
_WARNED = "warned: "
_SENTENCES |= {_WARNED + key: (warning.one, warning.several) for key, warning in WARNINGS.items()}
Boxes = Mapping[str, tuple[Box, ...]]


@dataclass(frozen=True)
class Entry:
    """A file of an import. `name` is the path inside the folder or zip, as listed in a CSV; without a CSV it is not
    kept, since it may contain a patient's name."""

    path: Path | None  # None: the row labels a film that is in the dataset
    name: str
    row: CsvRow | None = None
    boxes: tuple[Box, ...] | None = None  # None: there is no CSV of boxes, so boxes stay as they are


@dataclass(frozen=True)
class NamedFile:
    """A file of a folder or zip. `above`: how many folders at the beginning of its name a CSV may leave out or write
    differently, such as that of a zip in a zip."""

    name: str
    path: Path
    above: int = 0


@dataclass
class ImportReport:
    """The counts of an import; `sentences` explains them to a curator."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0  # of the CSV
    missing: list[CsvRow] = field(default_factory=list)
    ambiguous: list[CsvRow] = field(default_factory=list)  # among the files of the import
    ambiguous_films: list[CsvRow] = field(default_factory=list)  # among the films of the dataset
    unused: list[str] = field(default_factory=list)  # the first names of files that no row names
    left_out: tuple[str, ...] = ()  # names of CSV columns
    unknown_views: tuple[str, ...] = ()  # words of the CSV, or their shapes
    skipped: list[str] = field(default_factory=list)  # table, line and reason of each row
    # what counts where table and header name two patients, and the patients of such films; never stored
    patients_of: PatientSource = PatientSource.TABLE
    differing: set[tuple[str, str]] = field(default_factory=set)

    def to_json(self) -> dict[str, int]:
        lengths = {
            "missing": len(self.missing),
            "ambiguous files": len(self.ambiguous),
            "columns left out": len(self.left_out),
            "rows skipped": len(self.skipped),
        }
        counts = self.counts | Counter(lengths)
        return {name: counts[name] for name in _SENTENCES if counts[name]}

    @property
    def has_matched_nothing(self) -> bool:
        """Whether there is a CSV of which no row named a file or a film."""
        return self.rows > 0 and len(self._unmatched) == self.rows

    @property
    def first_names(self) -> FirstNames | None:
        """Names for the eyes of the uploader alone, if some could not be matched."""
        rows = self._unmatched
        return FirstNames([row.filename for row in rows[:MOST]], self.unused[:MOST]) if rows else None

    @property
    def _unmatched(self) -> list[CsvRow]:
        return [*self.missing, *self.ambiguous, *self.ambiguous_films]

    def sentences(self) -> list[str]:
        more = {
            "missing": _first(self.missing),
            "ambiguous files": _first(self.ambiguous),
            "ambiguous names": _first(self.ambiguous_films),
            "columns left out": f" ({', '.join(self.left_out)})",
            "unknown views": f" ({', '.join(self.unknown_views[:_MOST_NAMED])})",
            PatientDifference.PATIENT: self._differing_patients(),
            "rows skipped": f" ({' / '.join(self.skipped[:_MOST_NAMED])})",
        }
        counts = self.to_json().items()
        lines = [f"{count} {_SENTENCES[name][count > 1]}{more.get(name, '')}" for name, count in counts]
        if self.has_matched_nothing:
            lines.insert(0, NOTHING_MATCHED)
        return lines or ["Nothing to import: there is no film"]

    def _differing_patients(self) -> str:
        by_table, by_header = (
            (len(set(names)) for names in zip(*self.differing, strict=True)) if self.differing else (0, 0)
        )
        numbers = f" ({by_table} by the table, {by_header} by the headers; "
        if self.patients_of == PatientSource.HEADER:
            return numbers + "those of the headers were taken)"
        return (
            numbers + "those of the table were taken; where the headers are right, import into a new dataset with an "
            "empty patient_id, or with --patients header on the command line)"
        )


def _first(rows: Sequence[CsvRow]) -> str:
    """The place of a row and the shape of its name, which may be a patient's."""
    if not rows:
        return ""
    row = rows[0]
    return f" (the first: line {row.line}, column {'image' if row.image else 'filename'}, {name_shape(row.filename)})"


def entries_of_folder(
    folder: Path, rows: Mapping[str, CsvRow] | None, boxes: Boxes | None, report: ImportReport
) -> list[Entry]:
    """Return the files of a folder to import, in a stable order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    named = [NamedFile(path.relative_to(folder).as_posix(), path) for path in files]
    return entries_of(named, rows, boxes, report)


def entries_of(
    files: Sequence[NamedFile], rows: Mapping[str, CsvRow] | None, boxes: Boxes | None, report: ImportReport
) -> list[Entry]:
    """Return the files to import: with a CSV, the files that it lists."""
    if rows is not None:
        unknown = Counter(row.unknown_projection for row in rows.values() if row.unknown_projection)
        report.unknown_views = tuple(word for word, _ in unknown.most_common())
        report.counts["unknown views"] += unknown.total()
        report.counts["findings without a label"] += sum(bool(row.findings) and not row.label for row in rows.values())
        report.left_out = next((row.left_out for row in rows.values()), ())  # the same for every row
        entries = _match_rows(files, rows, boxes, report)
    else:
        by_name = sorted(files, key=lambda file: file.name)
        entries = [Entry(file.path, file.name) for file in by_name if _may_be_film(file.name)]
        report.counts["no films"] += sum(not _may_be_film(file.name) and not is_clutter(file.name) for file in files)
    used = sum(len(entry.boxes or ()) for entry in entries if entry.row and entry.row.label)
    report.counts["boxes left aside"] += sum(map(len, (boxes or {}).values())) - used
    return entries


def _may_be_film(name: str) -> bool:
    """Judged by the file extension. A number is not one: DICOM files are often named by their UID."""
    ending = PurePosixPath(name).suffix.lower()
    return (ending in IMAGE_ENDINGS or re.fullmatch(r"\.\d+", ending) is not None) and not is_clutter(name)


def is_clutter(name: str) -> bool:
    """Whether this is a file that operating systems or scanners add to folders."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].upper() in _CLUTTER


def _match_rows(
    files: Sequence[NamedFile], rows: Mapping[str, CsvRow], boxes: Boxes | None, report: ImportReport
) -> list[Entry]:
    """A row that names no file may name a film of the dataset."""
    files = [file for file in files if not is_clutter(file.name)]
    matches = match_names(list(rows), [file.name for file in files], [file.above for file in files])
    boxes_of = None if boxes is None else _boxes_of_rows(boxes, rows, files, matches)
    entries = []
    report.rows = len(rows)
    for row, match in zip(rows.values(), matches, strict=True):
        film_boxes = None if boxes_of is None else boxes_of.get(row.filename, ())
        if match.is_ambiguous:
            report.ambiguous.append(row)
        elif match.index is None:
            entries.append(Entry(None, row.filename, row, film_boxes))
        else:
            entries.append(Entry(files[match.index].path, row.filename, row, film_boxes))
            report.counts[match.rule] += match.rule != Rule.EXACT
    used = {match.index for match in matches}
    unused = [file.name for index, file in enumerate(files) if index not in used and _may_be_film(file.name)]
    report.counts["not in the CSV"] += len(unused)
    report.unused = sorted(unused)[:MOST]
    return entries


def _boxes_of_rows(
    boxes: Boxes, rows: Mapping[str, CsvRow], files: Sequence[NamedFile], matches: Sequence[Match]
) -> dict[str, tuple[Box, ...]]:
    """Boxes by the file name of a row: of the boxes' own name, or of the file that both name."""
    row_names, named = list(rows), list(boxes)
    row_of_file = {match.index: name for name, match in zip(row_names, matches, strict=True) if match.index is not None}
    boxes_of: dict[str, tuple[Box, ...]] = {}
    unmatched = []
    for name, match in zip(named, match_names(named, row_names), strict=True):
        if match.index is not None:
            boxes_of[row_names[match.index]] = boxes[name]
        elif not match.is_ambiguous:
            unmatched.append(name)
    for name, match in zip(unmatched, match_names(unmatched, [file.name for file in files]), strict=True):
        if match.index in row_of_file:
            boxes_of.setdefault(row_of_file[match.index], boxes[name])
    return boxes_of


def import_entries(
    *,
    upload: Upload,
    entries: Sequence[Entry],
    report: ImportReport,
    actor: User | None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportReport:
    """Import every entry into the upload's dataset and mark the upload as done."""
    Upload.objects.filter(pk=upload.pk).update(
        state=Upload.State.IMPORTING, total=len(entries), done=0, heartbeat_at=timezone.now()
    )
    last_heartbeat = time.monotonic()
    imported: set[int] = set()
    # before a film is stored, whose name would be one of them
    rows_there = [entry.row for entry in entries if entry.path is None and entry.row is not None]
    names = FilmNames(upload.dataset, rows_there) if rows_there else None
    with Decoder() as decoder:
        for done, entry in enumerate(entries, start=1):
            try:
                if entry.path is None and names is not None:
                    count = _label_there(upload, entry, names, report, imported)
                else:
                    count = _import_one(upload, entry, decoder, report, imported)
                report.counts[count] += count != "missing"  # the report counts those by their names
            except Exception:
                Upload.objects.filter(pk=upload.pk).update(done=done - 1)  # the number of files done, for the audit
                raise
            if time.monotonic() - last_heartbeat >= SECONDS_BETWEEN_HEARTBEATS or done == len(entries):
                last_heartbeat = time.monotonic()
                Upload.objects.filter(pk=upload.pk).update(done=done, heartbeat_at=timezone.now())
                on_progress(done, len(entries))
    _close(upload, report, actor)
    return report


def _close(upload: Upload, report: ImportReport, actor: User | None) -> None:
    if report.first_names is not None and upload.uploaded_by is not None:
        keep_first_names(upload, report.first_names)
    with transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(
            state=Upload.State.FAILED if report.has_matched_nothing else Upload.State.DONE,
            counts=report.to_json(),
            message="; ".join(report.sentences()) + ".",
            finished_at=timezone.now(),
        )
        verb = "fail to import films" if report.has_matched_nothing else "import films"
        audit.record(verb=verb, site=upload.dataset.site, actor=actor, target=upload.dataset, after=report.to_json())


def _import_one(upload: Upload, entry: Entry, decoder: Decoder, report: ImportReport, imported: set[int]) -> str:
    """Import one file and return the name of the count to increase. `imported`: ids of the films of this import."""
    dataset = upload.dataset
    path = entry.path
    assert path is not None
    source = _sha256_of_file(path)
    # A file in quarantine is tried again: the cause may be gone, such as a busy server or a missing decoder.
    quarantined = QuarantinedFile.objects.filter(dataset=dataset, source_sha256=source).first()
    image, is_new = dataset.images.filter(source_sha256=source).first(), False
    if image is not None:
        entry = _fitted(entry, image.rows, image.columns, image.header, report)
    else:
        try:
            film, header = decoder.decode(path)
        except UnusableFile as unusable:
            return _quarantine(upload, entry, source, unusable)
        rows, columns = film.stored.shape
        entry = _fitted(entry, rows, columns, header, report)
        of_patient = _patient_identifier(entry, header, report.patients_of)
        image, is_new = _find_or_store(dataset, entry, source, film, header, of_patient=of_patient)
        if is_new:
            _count_difference(entry, header, of_patient, report)
            report.counts.update(_WARNED + key for key in keys_of(header))
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
    if not entry.boxes or entry.row is None or not entry.row.label:
        return entry
    orientation = int(header.get("exif_orientation", UPRIGHT))
    fitted = fit_boxes(entry.boxes, rows=rows, columns=columns, orientation=orientation)
    report.counts.update({"boxes outside": fitted.outside, "boxes cut": fitted.cut, "boxes turned": fitted.turned})
    return replace(entry, boxes=fitted.boxes)


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
    if is_new:
        return "quarantined"
    if (quarantined.reason, quarantined.sentence) != (unusable.reason, unusable.sentence):
        quarantined.reason, quarantined.sentence = unusable.reason, unusable.sentence
        quarantined.save(update_fields=["reason", "sentence"])
    return "quarantined already"


def _release(quarantined: QuarantinedFile, image: Image, actor: User | None) -> int:
    """Take the file out of quarantine, since it is a film now. Return 1, or 0 if another import was first."""
    before = {"reason": quarantined.reason, "sentence": quarantined.sentence}
    with transaction.atomic():
        deleted, _ = QuarantinedFile.objects.filter(pk=quarantined.pk).delete()
        if deleted:
            site = image.dataset.site
            audit.record(verb="release from quarantine", site=site, actor=actor, target=image, before=before)
    return deleted


def _find_or_store(
    dataset: Dataset, entry: Entry, source: str, film: Film, header: dict[str, str], *, of_patient: PatientIdentifier
) -> tuple[Image, bool]:
    """Return the film with these pixels, and whether it is new."""
    pixels = pixel_sha256(film.stored)
    image = dataset.images.filter(pixel_sha256=pixels).first()
    if image is not None:
        return image, False
    try:
        return _store(
            dataset, entry, source=source, pixels=pixels, film=film, header=header, of_patient=of_patient
        ), True
    except IntegrityError:  # another import of the dataset stored it in the meantime
        return dataset.images.get(pixel_sha256=pixels), False


def _store(
    dataset: Dataset,
    entry: Entry,
    *,
    source: str,
    pixels: str,
    film: Film,
    header: dict[str, str],
    of_patient: PatientIdentifier,
) -> Image:
    film_files.write_once(film_files.pixel_path(pixels), pack(film.stored))
    preview_jpeg = preview(film)
    row = entry.row or CsvRow(filename=entry.name)
    with transaction.atomic():
        patient = _patient(dataset.site, of_patient, header, pixels)
        image = Image(
            dataset=dataset,
            patient=patient,
            study=_study(patient, header),
            acquired_day=_acquired_day(patient, header),
            source_sha256=source,
            pixel_sha256=pixels,
            rows=film.stored.shape[0],
            columns=film.stored.shape[1],
            facts=film.facts.to_json(),
            header={key: value for key, value in header.items() if ":" not in key},
            view_position=row.projection or header.get("view_position", "")[:8],
            laterality=header.get("laterality", "")[:2],
            warning=_warning(header),
            shows_nothing=not SHOWS_NOTHING.isdisjoint(keys_of(header)),
            original_name=entry.name if entry.row else "",
            csv_split=row.split,
            extra=dict(row.extra),
        )
        image.save(force_insert=True)
        append_label(image, entry.row, boxes=entry.boxes or ())
        film_files.write_once(film_files.preview_path(image), preview_jpeg)
    return image


def _warning(header: Mapping[str, str]) -> str:
    """The header's warnings as whole sentences, burned-in text first, as many as fit in the column."""
    sentences = [value for key, value in header.items() if key.startswith("warning:")]
    sentences.sort(key=lambda sentence: sentence != header.get("warning:burned_in"))
    room = Image._meta.get_field("warning").max_length or 0
    while sum(map(len, sentences)) + len(sentences) > room:
        sentences.pop()
    return " ".join(sentences)


def _append_changes(image: Image, entry: Entry, report: ImportReport) -> None:
    """Append the changed label of a corrected CSV."""
    if entry.row is None:
        return
    if _fixed_facts_differ(image, entry.row, report.patients_of):
        report.counts["kept as imported"] += 1
    if append_change(image, entry.row, entry.boxes) in (RowOutcome.LABELLED, RowOutcome.CHANGED):
        report.counts["label events"] += 1


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
    if "split" in row.columns and row.split != image.csv_split:
        return True
    if not row.patient_id or patients_of == PatientSource.HEADER:  # the header is not there any more
        return False
    key = site_key(image.dataset.site)
    names = (pseudonym(key, spelling) for spelling in spellings_of_number(row.patient_id))
    return image.patient.pseudonym not in names


def _patient_identifier(entry: Entry, header: Mapping[str, str], counts: PatientSource) -> PatientIdentifier:
    table = entry.row.patient_id if entry.row else ""
    return patient_identifier(table=table, header=header.get("identifier:patient_id", ""), counts=counts)


def _count_difference(
    entry: Entry, header: Mapping[str, str], of_patient: PatientIdentifier, report: ImportReport
) -> None:
    if of_patient.difference and entry.row:
        report.counts[of_patient.difference] += 1
        if of_patient.difference == PatientDifference.PATIENT:
            report.differing.add((entry.row.patient_id, header.get("identifier:patient_id", "")))


def _patient(site: Site, identifier: PatientIdentifier, header: Mapping[str, str], pixels: str) -> Patient:
    key = site_key(site)
    # A film without a patient identifier counts as its own patient.
    names = [pseudonym(key, spelling) for spelling in identifier.spellings] or [pseudonym(key, f"film {pixels}")]
    if len(names) > 1:
        there = {patient.pseudonym: patient for patient in Patient.objects.filter(site=site, pseudonym__in=names)}
        if known := next((there[name] for name in names if name in there), None):
            return known
    patient, _ = Patient.objects.get_or_create(
        site=site,
        pseudonym=names[0],
        defaults={
            "sex": header.get("patient_sex", "")[:1],
            "age_band": age_band(header.get("age_years", "")),
            "identified": bool(identifier.spellings),
        },
    )
    return patient


def _study(patient: Patient, header: Mapping[str, str]) -> Study | None:
    uid = header.get("identifier:study_uid", "")
    if not uid:
        return None
    study, _ = Study.objects.get_or_create(patient=patient, pseudonym=pseudonym(site_key(patient.site), uid))
    return study


def _acquired_day(patient: Patient, header: Mapping[str, str]) -> date | None:
    """A film that is its own patient has no other to be compared with, so nothing of its date is kept."""
    acquired_on = header.get("identifier:acquired_on", "")
    return shifted_day(site_key(patient.site), patient.pseudonym, acquired_on) if patient.identified else None


def site_key(site: Site) -> bytes:
    """Return the key of a site's pseudonyms, derived from the installation's secret and never stored."""
    return hmac.new(settings.PSEUDONYM_SECRET.encode(), site.uuid.bytes, hashlib.sha256).digest()


def age_band(age_years: str) -> str:
    """ "47" -> "40-49"; above 89 -> "90+"; blank stays blank."""
    if not age_years.isdigit():
        return ""
    decade = int(age_years) // 10 * 10
    return "90+" if decade >= 90 else f"{decade}-{decade + 9}"


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
